"""What `npu-smi info -t topo` prints on several servers (`from tests.jobs.launch.topologies import ...`).

The legend is shortened.
"""
LEGEND = """
Legend:

  X    = Self
  SYS  = Path traversing PCIe and NUMA nodes. Nodes are connected through SMP, such as QPI, UPI.
  HCCS = Connection traversing HCCS.
"""


def matrix(link, *affinity, width=8):
    """The output for devices that are all connected by the same kind of link."""
    numbers = range(width)
    head = "\t   " + "".join(f"NPU{number}       " for number in numbers) + "CPU Affinity\n"
    return head + "".join(
        f"NPU{row}       " + "".join(f"{'X' if row == column else link:<11}" for column in numbers) + f"{cores}\n"
        for row, cores in zip(numbers, affinity, strict=True)) + LEGEND


# 8 Ascend 910B3, 192 cores. github.com/modelscope/ms-swift, docs/source_en/BestPractices/NPU-support.md
PAIRS = matrix("HCCS", "144-167", "144-167", "96-119", "96-119", "0-23", "0-23", "48-71", "48-71")
# 8 Ascend 910B, 192 cores. github.com/guevara/read-it-later, issue 11547 (a copy of an article of 2023 about 910B)
INTERLEAVED = matrix("HCCS", "144-167", "0-23", "144-167", "0-23", "96-119", "48-71", "96-119", "48-71")
# 4 Ascend 910B4 on PCIe. The test data of github.com/openyuanrong/functionsystem for its probe of NPUs
FOUR_ON_PCIE = """\
        NPU0    NPU1    NPU2    NPU3  CPU Affinity
NPU0     X      PXB     SYS     PXB   144-167
NPU1    PXB      X      PXB     SYS   96-119
NPU2    SYS     PXB      X      PXB   48-71
NPU3    PXB     SYS     PXB      X    0-23

Legend:

  X    = Self
"""
# Made up in the same form: a container with three devices of a server, near cores in two blocks (hyper-threads).
CONTAINER = """\
           NPU4       NPU5       NPU7       CPU Affinity
NPU4       X          HCCS       HCCS       0-15,64-79
NPU5       HCCS       X          HCCS       0-15,64-79
NPU7       HCCS       HCCS       X          16-31,80-95
"""
# Ascend 910C: no column of cores. The form is that of the tests of zstacklib (its GPU vendor Huawei).
WITHOUT_CORES = """\
          Phy-ID2    Phy-ID3    Phy-ID12   Phy-ID13
Phy-ID2    X          SIO        HCCS_SW    HCCS_SW
Phy-ID3    SIO        X          HCCS_SW    HCCS_SW
"""
# hiascend.com, Atlas 200I A2 24.1.0, npusmi_069
REFUSED = "This device does not support querying topo.\n"
