-- Figure 6: FF-INT8 with and without look-ahead. It wants the networks mlp and resnet18 with rows that stand for the paper's
-- curves: paper = "lookahead" and paper = "off".
require "lib.operations"
local common = require "claims.common"
local paper = require "paper"

local fig6, claim = common.list "fig6"
local text = paper.text
local judged = { mlp = { "quick", "paper" }, resnet18 = { "paper" } }
local shown = { mlp = { 50, 100, 150, 200, 250 }, resnet18 = { 200, 400, 600, 800, 1000 } } -- epochs

local function at_epoch(curve, epoch)
  for _, point in ipairs(curve.accuracy) do
    if point[1] == epoch then
      return point[2]
    end
  end
  return nil
end

for model, epochs in pairs(shown) do
  for row, curve in pairs(paper.figure6[model]) do
    for _, epoch in ipairs(epochs) do
      claim { id = ("%s.%s.accuracy_%d"):format(model, row, epoch), text = ("accuracy of {row} after epoch %d"):format(epoch),
        place = curve.place, kind = "value", model = model, row = row,
        metric = ("accuracy_at_%d"):format(epoch), paper = at_epoch(curve, epoch),
        tolerance = common.plot_points }
    end
  end
  claim { id = model .. ".fewer_epochs", text = "{row} levels off after fewer epochs than without look-ahead",
    place = "Section V-B; Figure 6", kind = "difference", model = model, row = "lookahead", base = "off",
    metric = "epochs_to_plateau", at_most = -1, profiles = judged[model] }
  claim { id = model .. ".higher", text = "{row} levels off higher than without look-ahead", place = "Section V-B; Figure 6",
    kind = "difference", model = model, row = "lookahead", base = "off", metric = "plateau", at_least = 0, resolution = 0.5,
    profiles = judged[model] }
  claim { id = model .. ".memory", text = "{row} takes only modestly more memory than without look-ahead: 10 % at most",
    place = "Section IV-C", kind = "change", model = model, row = "lookahead", base = "off", metric = "memory", at_least = 0,
    at_most = 10 }
  claim { id = model .. ".no_more_work", text = "{row} multiplies no more in a step than without look-ahead",
    place = "Section IV-C", kind = "change", model = model, row = "lookahead", base = "off", metric = "macs", at_most = 0 }
end

-- What the text names of the curves.
local printed = {
  { "mlp", "lookahead", "epochs_to_plateau", text.epochs_with_lookahead, 13, "epochs until {row} levels off" },
  { "mlp", "off", "epochs_to_plateau", text.epochs_without_lookahead, 18, "epochs until {row} levels off" },
  { "mlp", "off", "plateau", text.accuracy_without_lookahead, 1, "where {row} levels off" },
  { "resnet18", "off", "plateau", text.resnet18_without_lookahead, 3, "where {row} levels off" },
}
for _, entry in ipairs(printed) do
  local model, row, metric, number, tolerance, what = table.unpack(entry)
  claim { id = ("%s.%s.%s"):format(model, row, metric), text = what, place = number.place, kind = "value", model = model,
    row = row, metric = metric, paper = number.value, tolerance = { paper = tolerance } }
end

claim { id = "resnet18.much_higher", text = "{row} ends 20 points above training without look-ahead",
  place = "Section V-B; Figure 6b", kind = "difference", model = "resnet18", row = "lookahead", base = "off",
  metric = "plateau", at_least = 20, resolution = 5, profiles = judged.resnet18 }

claim { id = "resnet18.steadier", text = "accuracy jumps less from epoch to epoch with look-ahead",
  place = "Section V-B; Figure 6b", kind = "order", model = "resnet18", rows = { "lookahead", "off" }, metric = "roughness",
  profiles = judged.resnet18 }

claim { id = "no_backward_chain", text = "the look-ahead gradient needs no backward chain", place = "Section IV-C, Equation 4",
  kind = "contradiction",
  evidence = "Equation 4 derives the losses of later layers by an earlier layer's weights, and that derivative runs back "
    .. "through the layers in between." }

claim { id = "plateau", place = "Figure 6a", kind = "contradiction",
  text = common.text("FF-INT8 with look-ahead levels off at %.1f %% on the MLP",
    common.last(paper.figure6.mlp.lookahead.accuracy)),
  evidence = common.text("Table V gives the same training %.1f %%.", paper.table5.mlp.ff_int8.accuracy) }

return fig6
