"""A supervisor in a process of its own: supervised.py FOLDER SCRIPT... runs each Python text as a rank."""
import sys

if __name__ == "__main__":
    from centernet.jobs.launch.plan import RankPlan
    from centernet.jobs.launch.supervise import Stopped, run_plans

    folder, *scripts = sys.argv[1:]
    plans = tuple(RankPlan(f"rank {number}", number, f"{folder}/LOG{number}", {"RANK_ID": str(number)},
                           (sys.executable, "-c", script)) for number, script in enumerate(scripts))
    try:
        sys.exit(run_plans(plans, 2, True))
    except Stopped as stopped:
        sys.exit(128 + stopped.number)
