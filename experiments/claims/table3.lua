-- Table III: the paper's board. It wants the network mlp with the row bp_int8, and lib.machine's metrics. What the board is
-- can be judged on a board only; that INT8 is faster than FP32 anywhere.
require "lib.machine"
local common = require "claims.common"
local paper = require "paper"

local table3, claim = common.list "table3"

local board, name = paper.table3, "Jetson Orin Nano"

local function claim_number(id, text, metric, number, tolerance, machine)
  claim { id = id, text = text, place = number.place, kind = "value", model = "mlp", row = "bp_int8", metric = metric,
    paper = number.value, tolerance = common.everywhere(tolerance), machine = machine }
end

claim_number("cpu_cores", "processors of the board", "processors", board.cpu_cores, 0, name)
claim_number("memory_size", "memory of the board, less what the system keeps", "machine_memory", board.memory_size, 1, name)
claim_number("int8_speed", "INT8 arithmetic against FP32's, how many times as fast", "int8_speed", paper.table4.int8_speed, 1)

claim { id = "power", text = common.text("the board takes %g W at most", board.power_high), place = board.power_high.place,
  kind = "value", model = "mlp", row = "bp_int8", metric = "power", at_most = board.power_high.value, machine = name }

for id, text in pairs {
  gpu_cores = common.text("the board's GPU has %g cores", board.gpu_cores),
  int8_rate = common.text("the board does %g TOPS in INT8", board.int8_rate),
  memory_bandwidth = common.text("the board's memory moves %g GB/s", board.memory_bandwidth),
} do
  claim { id = id, text = text, place = board[id].place, kind = "unmeasured",
    why = "a data sheet's number of the paper's board, which no program here can reach; Table III has this machine's" }
end

-- Joules over seconds of every row of Table V.
local function mean_powers()
  local lowest, highest = math.huge, 0
  for _, rows in pairs(paper.table5) do
    for _, row in pairs(rows) do
      local watts = row.energy.value / row.time.value
      lowest, highest = math.min(lowest, watts), math.max(highest, watts)
    end
  end
  return lowest, highest
end

claim { id = "mean_power", place = "Table III, power, against Table V", kind = "contradiction",
  text = common.text("the energy of Table V is that of a board that takes %g to %g W", board.power_low, board.power_high),
  evidence = common.text("Its joules over its seconds are %.1f to %.1f W. A module with its GPU at work takes about that, so "
    .. "one rail of the board would explain it; which one was read, the paper does not say.", mean_powers()) }

return table3
