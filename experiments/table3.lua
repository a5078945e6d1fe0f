-- Table III: this machine beside the paper's board. What a machine is stands in every record; what it does at most is
-- measured behind a short training, on generated data, and what it takes while it trains, where a meter says so.
-- `ffbench doctor` shows the same of a machine that has no record yet.
local machine = require "lib.machine"
local networks = require "networks"
local paper = require "paper"
local tables = require "lib.tables"

local board = paper.table3
local longer = { epochs = 5, eval_limit = 100, skip_test = true, seeds = { 1, 2, 3 } }

-- Peaks are measured on the backend cpu only, so nothing insists on them.
local described = {
  { row = "bp_int8", finishes = true },
  { row = "bp_int8", metric = "processors", at_least = 1 },
  { row = "bp_int8", metric = "machine_memory", at_least = 0.1 },
}

-- Where a row has a fact: {title, path, the paper's, why it may be missing}; else {title, metric, the paper's, digits}.
local facts = {
  { "Processor", "provenance.machine.processor", board.cpu, "the kernel does not name it" },
  { "Instructions", "provenance.machine.instructions", "-", "none of those that INT8 and FP32 products use" },
  { "GPU", "provenance.gpu", board.gpu, "no backend of this program uses a GPU" },
}
local numbers = {
  { "Processors", "processors", ("%d"):format(board.cpu_cores.value), "%.0f" },
  { "Memory GB", "machine_memory", board.memory, "%.1f" },
  { "Memory GB/s", "memory_bandwidth", ("%g"):format(board.memory_bandwidth.value), "%.1f" },
  { "Power W", "power", board.power, "%.1f" },
  { "INT8 TOPS", "int8_peak", ("%g"):format(board.int8_rate.value), "%.3f" },
  { "FP32 TFLOPS", "fp32_peak", "-", "%.3f" },
  { "INT8 against FP32, times", "int8_speed", ("%g"):format(paper.table4.int8_speed.value), "%.2f" },
}

local function report(results)
  local row = results.models[1].rows[1]
  local list = tables.new { "", { title = "This machine", align = "left" }, { title = "paper", align = "left" } }
  for _, fact in ipairs(facts) do
    list:add(fact[1], machine.fact(row, fact[2], fact[4]), fact[3])
  end
  for _, number in ipairs(numbers) do
    list:add(number[1], row:text(number[2], number[4]), number[3])
  end
  return { list, ("The paper's board is the %s; its numbers are a data sheet's, and its %g TOPS are the GPU's. Here "
    .. "the processor's are measured: multiply-accumulates from registers, two operations each, and a triad over 192 MiB; "
    .. "memory is what the kernel has, power the mean while BP-INT8 trains. Mean over runs ± sample standard deviation.")
    :format(board.board, board.int8_rate.value) }
end

return experiment {
  name = "table3",
  title = "Table III: this machine beside the paper's board",
  models = { mlp = networks.mlp { dataset = "synthetic_digits", measure_peaks = true } },
  algorithms = { { "bp_int8", title = "BP-INT8" } },
  defaults = require "tuned",
  profiles = {
    smoke = { epochs = 1, train_limit = 4000, eval_limit = 100, skip_test = true, seeds = { 1, 2, 3 } },
    quick = longer,
    paper = longer,
    reference = "paper",
  },
  report = report,
  paper = { mlp = { bp_int8 = { processors = board.cpu_cores, machine_memory = board.memory_size,
    memory_bandwidth = board.memory_bandwidth, int8_peak = board.int8_rate, int8_speed = paper.table4.int8_speed } } },
  claims = require "claims".table3,
  gates = { smoke = described, quick = described, paper = described },
}
