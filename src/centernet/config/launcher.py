"""Flags of the scripts that start processes, all optional: name -> type. jobs/launch/arguments.py reads them.

The commands that run in these processes do not have them, except for those that are settings as well.
"""
from __future__ import annotations

OPTIONS: dict[str, type] = {"log_root": str}
GROUP_OPTIONS: dict[str, type] = {"rank_table_file": str, "server_id": str, "device_num": int, "worker_num": int,
                                  "local_worker_num": int, "node_rank": int, "master_addr": str, "master_port": int,
                                  "hyper_parameter_config_dir": str}
FOREGROUND = "foreground"  # a flag without a value
