"""First day on a card: everything that only a card can answer, measured by one command (scripts/first_day_ascend.sh).

run.py runs the parts (parts.py) one after the other, each command in its own process with a time limit, and report.py
writes what was found. golden.py, operators.py, environment.py and prepare.py are such commands.
"""
