-- Figure 2: ResNet-18 on CIFAR-10, FP32 and gradients quantised directly to INT8. It wants the network resnet18 with the rows
-- bp_fp32 and bp_int8.
local common = require "claims.common"
local paper = require "paper"

local fig2, claim = common.list "fig2"
local fp32 = paper.figure2.bp_fp32

for _, point in ipairs(fp32.accuracy) do
  claim { id = ("bp_fp32.accuracy_%d"):format(point[1]), text = ("accuracy of {row} after epoch %d"):format(point[1]),
    place = fp32.place, kind = "value", model = "resnet18", row = "bp_fp32",
    metric = ("accuracy_at_%d"):format(point[1]), paper = point[2], tolerance = common.plot_points }
end

for _, point in ipairs(fp32.loss) do
  claim { id = ("bp_fp32.loss_%d"):format(point[1]), text = ("loss of {row} after epoch %d"):format(point[1]),
    place = fp32.place, kind = "value", model = "resnet18", row = "bp_fp32",
    metric = ("loss_at_%d"):format(point[1]), paper = point[2], tolerance = { paper = 0.1 } }
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

return fig2
