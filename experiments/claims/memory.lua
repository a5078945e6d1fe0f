-- What the text says of forward-forward's memory besides Table V's numbers. It wants rows bp_fp32, and rows that stand for off
-- (without look-ahead) and lookahead. Planned memory follows from shapes, so every profile judges it.
local common = require "claims.common"

local memory, claim = common.list "memory"

for _, model in ipairs { "mobilenet_v2", "efficientnet_b0", "resnet18" } do
  claim { id = model .. ".off.below_bp", text = "{row}: holds one layer at a time, so takes less than BP-FP32",
    place = "Section III", kind = "change", model = model, row = "off", base = "bp_fp32", metric = "memory", at_most = 0 }
  claim { id = model .. ".lookahead.below_bp", text = "{row}: without a graph to store takes less than BP-FP32",
    place = "Section IV-C", kind = "change", model = model, row = "lookahead", base = "bp_fp32", metric = "memory",
    at_most = 0 }
  claim { id = model .. ".lookahead.modest", text = "{row}: takes only modestly more than without: 10 % at most",
    place = "Section IV-C", kind = "change", model = model, row = "lookahead", base = "off", metric = "memory", at_least = 0,
    at_most = 10 }
end

return memory
