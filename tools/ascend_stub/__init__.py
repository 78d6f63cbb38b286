"""A stand-in for CANN's libraries, so that MindSpore compiles graphs for Ascend on a machine without CANN.

MindSpore's wheel has its Ascend plugin, and its dry run (MS_SIMULATION_LEVEL) needs no card. But the plugin is linked
to libraries of CANN, and it does not load without them. build() makes one library with all the functions that the
plugin of the installed wheel asks for. They do nothing and return 0.
"""
