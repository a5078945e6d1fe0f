-- Figure 3: gradient of the first layer's weights, FP32, by depth. It wants networks hidden0 to hidden2 with the row bp_fp32,
-- and the measures of lib.gradients as metrics: gradients.1.kurtosis is after the first epoch.
local common = require "claims.common"
local paper = require "paper"

local fig3, claim = common.list "fig3"
local section = "Section IV-A; Figure 3"
local deeper = { "hidden0", "hidden1", "hidden2" }

local function quarter(value)
  return { quick = value / 4, paper = value / 4 }
end

for _, model in ipairs(deeper) do
  local printed = paper.figure3[model]
  claim { id = model .. ".peak", text = "share of the gradient's fullest bin, {row}", place = printed.place, kind = "value",
    model = model, row = "bp_fp32", metric = "gradients.1.peak", paper = printed.peak_share,
    tolerance = quarter(printed.peak_share) }
  claim { id = model .. ".reach", text = "half the range of the gradient's bulk, {row}", place = printed.place, kind = "value",
    model = model, row = "bp_fp32", metric = "gradients.1.reach", paper = 1000 * printed.bulk, -- in thousandths
    tolerance = quarter(1000 * printed.bulk) }
end

for _, sharper in ipairs {
  { "peak_grows", "the deeper the network, the fuller the fullest bin of its gradient, {row}", "peak" },
  { "kurtosis_grows", "the deeper the network, the sharper its gradient's peak, {row}: kurtosis", "kurtosis" },
  { "extremes_grow", "the deeper the network, the larger its gradient's extremes against the median, {row}",
    "largest_over_median" },
  { "largest_grows", "the deeper the network, the larger its gradient's largest value, {row}", "largest" },
  { "zeros_grow", "the deeper the network, the more of its gradient INT8 turns to zero, {row}", "int8_zeros" },
} do
  claim { id = sharper[1], text = sharper[2], place = section, kind = "order", models = deeper, row = "bp_fp32",
    metric = "gradients.1." .. sharper[3], profiles = common.mlp_profiles }
end

return fig3
