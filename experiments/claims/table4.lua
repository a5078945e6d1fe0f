-- Table IV: operations of one training step, a batch of 10 on the four-layer MLP. It wants the network mlp_3x500 with the rows
-- bp_fp32, bp_gdai8 and ff_int8. Counts depend on no seed and no epoch, so every profile judges them.
local common = require "claims.common"
local paper = require "paper"

local table4, claim = common.list "table4"

local bp_macs, ff_macs = paper.table4.bp_fp32.mac_multiply_f32.value / 1e6, paper.table4.ff_int8.multiply_s8.value / 1e6

-- The metrics are lib.operations'. A multiply and an add of the paper are one multiply-accumulate here.
local counted = {
  { name = "compare_f32", metric = "compared", text = "comparisons of {row}" },
  { name = "add_f32", metric = "added", text = "additions of {row}" },
  { name = "multiply_s8", metric = "macs", text = "multiply-accumulates of {row}" },
  { name = "mac_multiply_f32", metric = "macs", text = "multiply-accumulates of {row}" },
}

for _, row in ipairs { "bp_fp32", "bp_gdai8", "ff_int8" } do
  for _, count in ipairs(counted) do
    local printed = paper.table4[row][count.name]
    if printed then
      claim { id = ("%s.%s"):format(row, count.name), text = count.text, place = printed.place, kind = "value",
        model = "mlp_3x500", row = row, metric = count.metric, paper = printed.value,
        tolerance = common.everywhere(0.05 * printed.value) }
    end
  end
end

for _, base in ipairs { "bp_fp32", "bp_gdai8" } do
  claim { id = "ff_int8.share_of_" .. base,
    text = ("multiply-accumulates of {row}, share of %s's"):format(paper.algorithms[base]),
    place = paper.table4.mac_share.place, kind = "share", model = "mlp_3x500", row = "ff_int8", base = base, metric = "macs",
    paper = paper.table4.mac_share.value, tolerance = common.everywhere(0.1) }
end

claim { id = "gdai8_counts_as_fp32", text = "{row} does as many multiply-accumulates as BP-FP32", place = "Table IV",
  kind = "share", model = "mlp_3x500", row = "bp_gdai8", base = "bp_fp32", metric = "macs", paper = 100,
  tolerance = common.everywhere(1) }

claim { id = "ff_int8.quantisation_is_small", text = "{row}: quantisation negligible, a twentieth of its MACs at most",
  place = "Section V-C", kind = "value", model = "mlp_3x500", row = "ff_int8", metric = "quantisation_share", at_most = 5 }

claim { id = "ff_int8.no_input_gradient", text = "{row} computes no gradient of a layer's input", model = "mlp_3x500",
  place = "Sections IV-B and V-C; Figure 4", kind = "value", row = "ff_int8", metric = "input_gradient", at_most = 0 }

claim { id = "forward_is_cheaper", text = "{row}: a forward pass is cheaper than a backward pass, in MACs", model = "mlp_3x500",
  place = "Sections III and V-C", kind = "value", row = "bp_fp32", metric = "forward_share", at_most = 100 }

claim { id = "rows_of_one_network", text = "Table IV's rows are of one network", place = "Table IV, MAC phase",
  kind = "contradiction",
  evidence = common.text("With w weights and a batch of b backpropagation takes at most 3 w b and FF-INT8, with two passes, at "
    .. "most 4 w b; so %.1f M means at least %.1f M weights and %.1f M from %.1f M, where Table II's MLP has %.2f M.",
    bp_macs, bp_macs / 3 / paper.table4.batch.value, ff_macs, ff_macs / 4 / paper.table4.batch.value,
    paper.table2.mlp.parameters) }

claim { id = "counts", place = "Table IV", kind = "contradiction",
  text = common.text("a step of FF-INT8 is %.1f M multiply-accumulates, one of backpropagation %.1f M", ff_macs, bp_macs),
  evidence = common.text("784-500-500-500-10 with a batch of 10 makes 22.99 M for backpropagation (8.97 forward, 8.97 for "
    .. "gradients of weights, 5.05 of inputs) and at most 35.88 M for FF-INT8 with two passes: 1.56 times as many, not "
    .. "%.1f %%.", paper.table4.mac_share) }

return table4
