from centernet.jobs.launch.plan import (
    LaunchJob,
    Nodes,
    msrun_command,
    plan_msrun,
    plan_rank_table,
    plan_standalone,
    with_cores,
)
from centernet.jobs.launch.rank_table import read_rank_table
from tests.jobs.launch.rank_tables import write_table

JOB = LaunchJob(("python", "train.py", "--mindrecord_dir", "/data/my shards"), "Ascend")


def plans(tmp_path, *servers, job=JOB, server="10.0.0.1", variables=None):
    table = read_rank_table(write_table(tmp_path / "hccl.json", *servers))
    return plan_rank_table(table, server, job, variables)


def test_one_server_with_eight_devices(tmp_path):
    ranks = plans(tmp_path, range(8))
    assert [(rank.name, rank.device, rank.folder) for rank in ranks] == [(f"rank {k}", k, f"LOG{k}") for k in range(8)]
    last = ranks[7]
    assert last.log_file == "LOG7/training_log.txt"
    assert last.command == (*JOB.command, "--distribute", "true", "--device_num", "8", "--device_id", "7",
                            "--save_checkpoint_path", "LOG7/ckpt_7")
    assert last.environment == {
        "RANK_ID": "7", "RANK_SIZE": "8", "DEVICE_ID": "7", "RANK_TABLE_FILE": str(tmp_path / "hccl.json"),
        "GLOG_logtostderr": "0", "GLOG_log_dir": "LOG7/ms_log", "PYTHONUNBUFFERED": "1",
        "ASCEND_PROCESS_LOG_PATH": "LOG7/plog"}


def test_the_second_of_two_servers(tmp_path):
    ranks = plans(tmp_path, range(8), range(8), server="10.0.0.2", variables={"HCCL_CONNECT_TIMEOUT": "60"})
    assert [rank.name for rank in ranks] == [f"rank {k}" for k in range(8, 16)]
    assert [rank.device for rank in ranks] == list(range(8))
    assert {rank.environment["RANK_SIZE"] for rank in ranks} == {"16"}
    assert {rank.environment["SERVER_ID"] for rank in ranks} == {"1"}
    assert ranks[0].environment["HCCL_CONNECT_TIMEOUT"] == "60"
    assert ranks[0].command[-1] == "LOG0/ckpt_8"
    assert "--device_num 16 --device_id 0" in " ".join(ranks[0].command)


def test_some_devices_of_a_server(tmp_path):
    ranks = plans(tmp_path, [4, 6, 7])
    assert [(rank.environment["RANK_ID"], rank.environment["DEVICE_ID"], rank.folder) for rank in ranks] == [
        ("0", "4", "LOG4"), ("1", "6", "LOG6"), ("2", "7", "LOG7")]


def test_a_path_of_ones_own_for_checkpoints_is_kept(tmp_path):
    (rank,) = plans(tmp_path, [0], job=LaunchJob(("python", "train.py"), "Ascend", own_checkpoints=False))
    assert "--save_checkpoint_path" not in rank.command


def test_msrun_on_the_first_server_also_starts_the_scheduler():
    rank, scheduler = plan_msrun(Nodes(2, 1), LaunchJob(JOB.command, "CPU", "/logs"))
    assert (rank.name, rank.log_file) == ("rank 0", "/logs/LOG0/training_log.txt")
    assert (scheduler.name, scheduler.folder) == ("scheduler", "/logs/LOG_scheduler")
    assert scheduler.command == (*JOB.command, "--distribute", "true", "--device_num", "2")
    assert not scheduler.environment.keys() & {"MS_ROLE", "RANK_ID", "RANK_SIZE"}  # msrun sets them


def test_msrun_on_the_second_server():
    nodes = Nodes(16, 8, 1, "10.0.0.1", 9000)
    ranks = plan_msrun(nodes, JOB)
    assert [(rank.name, rank.folder) for rank in ranks][:2] == [("rank 8", "LOG0"), ("rank 9", "LOG1")]
    assert ranks[7].command[-1] == "LOG7/ckpt_15"
    assert msrun_command(nodes, "/venv/python", "/my logs", ["worker.py", "plan"]) == (
        "/venv/python", "-m", "mindspore.parallel.cluster.run", "--worker_num=16", "--local_worker_num=8",
        "--master_addr=10.0.0.1", "--master_port=9000", "--node_rank=1", "--log_dir=/my logs",
        "--cluster_time_out=1200", "--join=True", "--tail_worker_log=-1", "worker.py", "plan")


def test_ranks_get_cores_and_the_scheduler_may_use_all():
    first, second, scheduler = with_cores(plan_msrun(Nodes(2, 2), JOB), [(0, 1), (4, 5)])
    assert (first.cores, second.cores, scheduler.cores) == ((0, 1), (4, 5), ())


def test_the_logs_of_all_libraries_are_in_the_folder_of_their_process():
    for plan in (*plan_msrun(Nodes(2, 2), JOB), plan_standalone("the evaluation", 3, JOB, "eval_log.txt")):
        assert plan.environment["GLOG_log_dir"] == f"{plan.folder}/ms_log"
        assert plan.environment["ASCEND_PROCESS_LOG_PATH"] == f"{plan.folder}/plog"
    (on_cpu,) = plan_msrun(Nodes(2, 1, 1), LaunchJob(JOB.command, "CPU"))
    assert "ASCEND_PROCESS_LOG_PATH" not in on_cpu.environment


def test_standalone_belongs_to_no_group():
    plan = plan_standalone("the training", 3, JOB, "training_log.txt")
    assert plan.command == (*JOB.command, "--save_checkpoint_path", "LOG3/ckpt_0")
    assert not plan.environment.keys() & {"RANK_ID", "RANK_SIZE", "RANK_TABLE_FILE", "MS_ROLE"}
