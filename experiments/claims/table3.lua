-- Table III: the paper's board. `ffbench doctor` shows this machine beside it.
local common = require "claims.common"
local paper = require "paper"

local table3, claim = common.list "table3"

for name, text in pairs {
  int8_rate = "the board does 20 TOPS in INT8",
  memory_bandwidth = "the board's memory moves 34 GB/s",
  power_high = "the board takes 7 to 10 W",
} do
  claim { id = name, text = text, place = paper.table3[name].place, kind = "unmeasured",
    why = "a data sheet of the paper's board; ffbench doctor and make bench show what this machine does" }
end

return table3
