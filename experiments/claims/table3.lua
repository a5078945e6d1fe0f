-- Table III: the paper's board. `ffbench doctor` shows this machine beside it.
local common = require "claims.common"
local paper = require "paper"

local table3, claim = common.list "table3"

local board = paper.table3

for name, text in pairs {
  int8_rate = common.text("the board does %g TOPS in INT8", board.int8_rate),
  memory_bandwidth = common.text("the board's memory moves %g GB/s", board.memory_bandwidth),
  power_high = common.text("the board takes %g to %g W", board.power_low, board.power_high),
} do
  claim { id = name, text = text, place = board[name].place, kind = "unmeasured",
    why = "a data sheet of the paper's board; ffbench doctor and make bench show what this machine does" }
end

return table3
