-- Figure 3: gradient of the first layer's weights, FP32, by depth. It wants networks hidden0 to hidden2 with the row bp_fp32,
-- and these numbers in its records.
local common = require "claims.common"
local paper = require "paper"

local fig3, claim = common.list "fig3"
local peak_share = "gradient.peak_share" -- per cent of the values in the fullest bin of the paper's axis
local bulk = "gradient.bulk" -- nearly all values lie within plus and minus this
local kurtosis = "gradient.kurtosis"
local extreme = "gradient.largest_over_median"
local zeros = "gradient.int8_zero_share" -- per cent
local section = "Section IV-A; Figure 3"
local deeper = { "hidden0", "hidden1", "hidden2" }

for _, model in ipairs(deeper) do
  local printed = paper.figure3[model]
  claim { id = model .. ".peak_share", text = "share of the fullest bin, {row}", place = printed.place, kind = "value",
    model = model, row = "bp_fp32", metric = peak_share, paper = printed.peak_share,
    tolerance = { quick = 0.25 * printed.peak_share, paper = 0.25 * printed.peak_share } }
  claim { id = model .. ".bulk", text = "what the bulk of the values lies within, {row}", place = printed.place, kind = "value",
    model = model, row = "bp_fp32", metric = bulk, paper = printed.bulk,
    tolerance = { quick = 0.25 * printed.bulk, paper = 0.25 * printed.bulk } }
end

for _, sharper in ipairs {
  { "peak_grows", "the deeper the network, the fuller the fullest bin of its first layer's gradient", peak_share },
  { "kurtosis_grows", "the deeper the network, the sharper the peak of its first layer's gradient: kurtosis", kurtosis },
  { "extremes_grow", "the deeper the network, the larger the extremes of that gradient against its median", extreme },
  { "zeros_grow", "the deeper the network, the more of that gradient INT8 turns to zero", zeros },
} do
  claim { id = sharper[1], text = sharper[2], place = section, kind = "order", models = deeper, row = "bp_fp32",
    metric = sharper[3], profiles = common.mlp_profiles }
end

return fig3
