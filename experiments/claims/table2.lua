-- Table II: the networks' sizes, to the digits that are printed. It wants a row bp_fp32 of each network.
local common = require "claims.common"
local paper = require "paper"

local table2, claim = common.list "table2"

for _, model in ipairs { "mlp", "mobilenet_v2", "efficientnet_b0", "resnet18" } do
  local printed = paper.table2[model].parameters
  claim { id = model .. ".parameters", text = "parameters", place = printed.place, kind = "value", model = model,
    row = "bp_fp32", metric = "parameters", paper = printed.value, tolerance = common.everywhere(0.01) }
end

return table2
