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

local sharper = {
  { "peak_grows", "the deeper the network, the fuller the fullest bin of its gradient, {row}", "peak" },
  { "kurtosis_grows", "the deeper the network, the sharper its gradient's peak, {row}: kurtosis", "kurtosis" },
  { "extremes_grow", "the deeper the network, the larger its gradient's extremes against the median, {row}",
    "largest_over_median" },
  { "largest_grows", "the deeper the network, the larger its gradient's largest value, {row}", "largest" },
  { "zeros_grow", "the deeper the network, the more of its gradient INT8 turns to zero, {row}", "int8_zeros" },
}

-- The paper does not say when its gradients were taken: after the first epoch is the reading to start from.
for _, when in ipairs { { epoch = 1, id = "", text = "" }, { epoch = 0, id = "before.", text = "before training, " } } do
  local function metric(measure)
    return ("gradients.%d.%s"):format(when.epoch, measure)
  end
  local function claim_value(model, id, text, measure, value)
    claim { id = when.id .. model .. id, text = when.text .. text, place = paper.figure3[model].place, kind = "value",
      model = model, row = "bp_fp32", metric = metric(measure), paper = value, tolerance = quarter(value) }
  end
  for _, model in ipairs(deeper) do
    claim_value(model, ".peak", "share of the gradient's fullest bin, {row}", "peak", paper.figure3[model].peak_share)
    claim_value(model, ".reach", "half the range of the gradient's bulk, {row}", "reach",
      1000 * paper.figure3[model].bulk) -- in thousandths
  end
  for _, more in ipairs(sharper) do
    claim { id = when.id .. more[1], text = when.text .. more[2], place = section, kind = "order", models = deeper,
      row = "bp_fp32", metric = metric(more[3]), profiles = common.mlp_profiles }
  end
end

return fig3
