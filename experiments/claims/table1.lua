-- Table I: the deeper the MLP, the worse plain INT8 backpropagation. It wants networks hidden0 to hidden3 with the rows bp_fp32
-- and bp_int8.
local common = require "claims.common"
local paper = require "paper"

local table1, claim = common.list "table1"
local judged = common.mlp_profiles
local section = "Section IV-A; Table I"

for hidden = 0, 3 do
  local model = "hidden" .. hidden
  for _, row in ipairs { "bp_fp32", "bp_int8" } do
    claim { id = ("%s.%s.accuracy"):format(model, row), text = "accuracy of {row}", place = paper.table1[model][row].place,
      kind = "value", model = model, row = row, metric = "accuracy", paper = paper.table1[model][row].value,
      tolerance = common.mlp_points }
  end
  claim { id = model .. ".difference", text = "accuracy of {row} against BP-FP32", place = paper.table1[model].difference.place,
    kind = "difference", model = model, row = "bp_int8", base = "bp_fp32", metric = "accuracy",
    paper = paper.table1[model].difference.value, tolerance = common.mlp_points }
end

claim { id = "one_layer_is_safe", text = "{row} loses little with a single layer: 2 points at most", place = section,
  kind = "difference", model = "hidden0", row = "bp_int8", base = "bp_fp32", metric = "accuracy", at_least = -2,
  resolution = 1, profiles = judged }

for hidden = 1, 3 do
  claim { id = ("hidden%d.collapses"):format(hidden), text = "{row} collapses: 15 points below BP-FP32", place = section,
    kind = "difference", model = "hidden" .. hidden, row = "bp_int8", base = "bp_fp32", metric = "accuracy", at_most = -15,
    resolution = 5, profiles = judged }
end

claim { id = "loss_grows_with_depth", text = "what {row} loses against BP-FP32 grows with depth", place = section,
  kind = "order", models = { "hidden2", "hidden1", "hidden0" }, row = "bp_int8", base = "bp_fp32", metric = "accuracy",
  profiles = judged }

claim { id = "int8_falls_with_depth", text = "accuracy of {row} falls with depth", place = section, kind = "order",
  models = { "hidden2", "hidden1", "hidden0" }, row = "bp_int8", metric = "accuracy", profiles = judged }

claim { id = "fp32_rises_with_depth", text = "accuracy of {row} rises with depth", place = section, kind = "order",
  models = { "hidden0", "hidden1", "hidden2" }, row = "bp_fp32", metric = "accuracy", profiles = judged }

claim { id = "overfits", text = "with a third hidden layer {row} gets worse: it overfits", place = section, kind = "difference",
  model = "hidden3", base_model = "hidden2", row = "bp_fp32", metric = "accuracy", at_most = 0, resolution = 0.2,
  profiles = judged }

claim { id = "int8_falls_with_every_layer", text = "BP-INT8 gets worse with every layer", place = section,
  kind = "contradiction",
  evidence = common.text("With three hidden layers it scores %.1f %%, with two %.1f %%; it loses %.1f points against %.1f.",
    paper.table1.hidden3.bp_int8, paper.table1.hidden2.bp_int8, paper.table1.hidden3.difference,
    paper.table1.hidden2.difference) }

claim { id = "three_networks", text = "three MLPs were trained", place = section, kind = "contradiction",
  evidence = "Table I has four rows, with 0, 1, 2 and 3 hidden layers." }

return table1
