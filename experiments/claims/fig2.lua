-- Figure 2: ResNet-18 on CIFAR-10, FP32 and gradients quantised directly to INT8. It wants the network resnet18 with the rows
-- bp_fp32 and bp_int8.
local common = require "claims.common"
local paper = require "paper"

local fig2, claim = common.list "fig2"
local last = { bp_fp32 = 100, bp_int8 = 8 } -- training in INT8 ends where its loss is no longer finite

local function claim_points(row, what, metric, tolerance)
  local curve = paper.figure2[row]
  for _, point in ipairs(curve[what]) do
    if point[1] <= last[row] and point[2] < math.huge then
      claim { id = ("%s.%s_%d"):format(row, what, point[1]), text = ("%s of {row} after epoch %d"):format(what, point[1]),
        place = curve.place, kind = "value", model = "resnet18", row = row, metric = metric:format(point[1]),
        paper = point[2], tolerance = tolerance }
    end
  end
end

for row in pairs(last) do
  claim_points(row, "accuracy", "accuracy_at_%d", common.plot_points)
  claim_points(row, "loss", "loss_at_%d", { paper = 0.1 })
end

claim { id = "bp_int8.diverges", text = "the loss of {row} is infinite from epoch 8 on, in every run",
  place = paper.figure2.bp_int8.place, kind = "value", model = "resnet18", row = "bp_int8", metric = "diverged_by_8",
  at_least = 100, profiles = common.cost_profiles }

claim { id = "bp_int8.at_chance", text = "{row} ends at the level of chance: 12 % at most", place = "Section IV-A; Figure 2",
  kind = "value", model = "resnet18", row = "bp_int8", metric = "validation", at_most = 12, resolution = 2,
  profiles = common.network_profiles }

claim { id = "bp_int8.rises_first", text = "{row} reaches 40 % before it fails", place = paper.figure2.bp_int8.place,
  kind = "value", model = "resnet18", row = "bp_int8", metric = "best", at_least = 40, resolution = 3,
  profiles = common.network_profiles }

local int8 = paper.figure2.bp_int8

claim { id = "bp_int8.at_once", text = "the loss of BP-INT8 grows as soon as training starts", place = "Section IV-A",
  kind = "contradiction",
  evidence = common.text("Figure 2 has it at %.1f from epoch %d to epoch %d, while accuracy rises to %d %% in epoch %d.",
    int8.loss[1][2], int8.loss[1][1], int8.loss[2][1], int8.accuracy[1][2], int8.accuracy[1][1]) }

return fig2
