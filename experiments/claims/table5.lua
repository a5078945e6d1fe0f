-- Table V: accuracy, time, energy and memory of each algorithm on each network, and what the text says of them.
require "lib.operations"
local common = require "claims.common"
local paper = require "paper"

local table5, claim = common.list "table5"

-- What the paper's times cover it does not say: time and energy are compared epoch for epoch, however many each algorithm
-- trained. Planned memory does not depend on them.
local per_epoch = { time = "time_per_epoch", energy = "energy_per_epoch" }
local what = { time = "time per epoch", energy = "energy per epoch" }

-- How far off still counts, in per cent.
local memory_change = common.everywhere(5)
local cost_change = { quick = 10, paper = 10 }
local board = "Jetson Orin Nano"

-- What "slightly higher" may be, in per cent: the paper says so of 11.5 % more energy in its own table.
local slightly = { { metric = "time", most = 10 }, { metric = "energy", most = 15 } }

local networks = { points = common.network_points, profiles = common.network_profiles }
local scale = {
  mlp = { points = common.mlp_points, profiles = common.mlp_profiles },
  mobilenet_v2 = networks,
  efficientnet_b0 = networks,
  resnet18 = networks,
}

local models = { "mlp", "mobilenet_v2", "efficientnet_b0", "resnet18" }
local rows = { "bp_fp32", "bp_int8", "bp_ui8", "bp_gdai8", "ff_int8" }
local bases = { "bp_fp32", "bp_gdai8" } -- which FF-INT8 is compared with
local metrics = { "accuracy", "time", "energy", "memory" }

-- The numbers of Table V. Seconds and joules depend on the machine; what carries over is their change, further down.
local function claim_numbers(model, row)
  for _, metric in ipairs(metrics) do
    local printed = paper.table5[model][row][metric]
    local costs_here = metric == "time" or metric == "energy"
    claim {
      id = ("%s.%s.%s"):format(model, row, metric),
      text = metric .. " of {row}",
      place = printed.place,
      kind = "value",
      model = model,
      row = row,
      metric = metric,
      paper = printed.value,
      tolerance = metric == "accuracy" and scale[model].points or common.everywhere(0.1 * printed.value),
      machine = costs_here and board or nil,
    }
  end
end

local function claim_changes(model, base)
  for _, metric in ipairs(metrics) do
    local printed = paper.table5_changes[model][base][metric]
    claim {
      id = ("%s.ff_int8.%s_against_%s"):format(model, metric, base),
      text = ("%s of {row} against %s"):format(what[metric] or metric, paper.algorithms[base]),
      place = printed.place,
      kind = metric == "accuracy" and "difference" or "change",
      model = model,
      row = "ff_int8",
      base = base,
      metric = per_epoch[metric] or metric,
      paper = printed.value,
      tolerance = metric == "accuracy" and scale[model].points or metric == "memory" and memory_change or cost_change,
    }
  end
end

-- A comparison of two rows that has to lie between two bounds.
local function claim_comparison(model, name, text, kind, row, base, metric, bounds)
  claim {
    id = ("%s.%s.%s"):format(model, row, name),
    text = text,
    place = bounds.place or "Section V-D",
    kind = kind,
    model = model,
    row = row,
    base = base,
    metric = metric,
    at_least = bounds[1],
    at_most = bounds[2],
    resolution = bounds.resolution,
    profiles = bounds.profiles,
  }
end

-- By cost, from the least to the most.
local function claim_order(model, metric)
  local order = table.move(rows, 1, #rows, 1, {})
  table.sort(order, function(a, b)
    return paper.table5[model][a][metric].value < paper.table5[model][b][metric].value
  end)
  claim {
    id = ("%s.%s_order"):format(model, metric),
    text = "order by " .. (what[metric] or metric),
    place = ("Table V, %s, %s"):format(paper.models[model], metric),
    kind = "order",
    model = model,
    rows = order,
    metric = per_epoch[metric] or metric,
    resolution = 10,
    profiles = metric ~= "memory" and common.cost_profiles or nil,
  }
end

local function claim_sentences(model)
  local learned, costs = scale[model].profiles, common.cost_profiles
  local place = "Section V-D; Table V, " .. paper.models[model]
  claim_comparison(model, "collapses", "{row} collapses: 20 points below BP-FP32", "difference", "bp_int8", "bp_fp32",
    "accuracy", { nil, -20, place = place .. ", BP-INT8", resolution = 5, profiles = learned })
  claim_comparison(model, "near_gdai8", "{row} within 1 point of BP-GDAI8, or above", "difference", "ff_int8", "bp_gdai8",
    "accuracy", { -1, place = place, resolution = 1, profiles = learned })
  for _, metric in ipairs { "energy", "memory", "time" } do
    claim_order(model, metric)
  end
  for _, row in ipairs { "bp_ui8", "bp_gdai8" } do
    claim_comparison(model, "near_fp32", "{row} is close to BP-FP32: 5 points below at most", "difference", row, "bp_fp32",
      "accuracy", { -5, resolution = 1, profiles = learned })
    for _, bound in ipairs(slightly) do
      claim_comparison(model, "slightly_more_" .. bound.metric, ("{row} takes slightly more %s than BP-INT8: %d %% at most")
        :format(bound.metric, bound.most), "change", row, "bp_int8", bound.metric,
        { 0, bound.most, resolution = 5, profiles = costs })
    end
  end
  for _, metric in ipairs { "time", "energy", "memory" } do
    claim_comparison(model, "saves_" .. metric, ("{row} takes less %s than BP-FP32"):format(metric), "change", "bp_int8",
      "bp_fp32", metric, { nil, 0, resolution = 5, profiles = metric ~= "memory" and costs or nil })
  end
  claim_comparison(model, "above_bp_ui8", "{row} is as accurate as BP-UI8, or more", "difference", "bp_gdai8", "bp_ui8",
    "accuracy", { 0, resolution = 0.5, profiles = learned })
  claim_comparison(model, "above_bp_int8", "{row} is far better than BP-INT8: 20 points", "difference", "ff_int8", "bp_int8",
    "accuracy", { 20, resolution = 5, profiles = learned })
  claim_comparison(model, "per_epoch", "an epoch of {row} is hundreds of times cheaper: 1 % of BP-FP32's time at most", "share",
    "ff_int8", "bp_fp32", "time_per_epoch", { nil, 1, place = "Section V-C", resolution = 1, profiles = costs })
  claim_comparison(model, "more_epochs", "{row} takes more epochs than BP-FP32 to level off", "difference", "ff_int8",
    "bp_fp32", "epochs_to_plateau", { 1, place = "Section V-C", profiles = { "paper" } })
  for _, metric in ipairs { "time", "energy" } do
    claim_comparison(model, "cheaper_in_total_" .. metric,
      ("in all its epochs {row} takes less %s than BP-FP32 in its fewer ones"):format(metric), "change", "ff_int8", "bp_fp32",
      metric, { nil, 0, place = "Section V-C; Table V", resolution = 5, profiles = { "paper" } })
  end
  for _, base in ipairs(bases) do
    claim_comparison(model, "fewer_macs_than_" .. base,
      ("in all its epochs {row} multiplies less than %s in its fewer ones"):format(paper.algorithms[base]), "change",
      "ff_int8", base, "macs_in_all", { nil, 0, place = "Section V-C", profiles = { "paper" } })
  end
end

for _, model in ipairs(models) do
  for _, row in ipairs(rows) do
    claim_numbers(model, row)
  end
  for _, base in ipairs(bases) do
    claim_changes(model, base)
  end
  claim_sentences(model)
end

-- The averages over the four networks, which the abstract repeats.
for _, base in ipairs(bases) do
  for _, metric in ipairs(metrics) do
    local printed = paper.table5_averages[base][metric]
    claim {
      id = ("average.%s_against_%s"):format(metric, base),
      text = ("%s of {row} against %s on average"):format(what[metric] or metric, paper.algorithms[base]),
      place = printed.place,
      kind = "average",
      models = models,
      row = "ff_int8",
      base = base,
      metric = per_epoch[metric] or metric,
      paper = printed.value,
      tolerance = metric == "accuracy" and common.network_points or metric == "memory" and memory_change or cost_change,
    }
  end
end

-- Where the paper's own numbers do not fit together.
local saved, printed = {}, paper.table5
for i, model in ipairs(models) do
  saved[i] = -paper.table5_changes[model].bp_gdai8.memory.value
end

claim {
  id = "average_memory",
  text = common.text("FF-INT8 takes %.1f %% less memory than BP-GDAI8 on average", paper.table5_averages.bp_gdai8.memory),
  place = "Table V, last row; abstract",
  kind = "contradiction",
  evidence = common.text("The four networks give %.1f, %.1f, %.1f and %.1f %%, mean %.1f %%; the printed average is "
    .. "EfficientNet-B0's.", saved[1], saved[2], saved[3], saved[4], (saved[1] + saved[2] + saved[3] + saved[4]) / 4),
}

claim {
  id = "efficientnet_b0.ff_int8.difference",
  text = common.text("FF-INT8 is %.1f points below BP-GDAI8 on EfficientNet-B0",
    paper.table5_changes.efficientnet_b0.bp_gdai8.accuracy),
  place = "Table V, EfficientNet-B0, FF-INT8, accuracy, second bracket",
  kind = "contradiction",
  evidence = common.text("The row's own accuracies, %.1f and %.1f %%, differ by %.1f.",
    printed.efficientnet_b0.ff_int8.accuracy, printed.efficientnet_b0.bp_gdai8.accuracy,
    printed.efficientnet_b0.bp_gdai8.accuracy.value - printed.efficientnet_b0.ff_int8.accuracy.value),
}

claim {
  id = "mlp.ff_int8.plateau",
  text = common.text("FF-INT8 reaches %.1f %% on the MLP", printed.mlp.ff_int8.accuracy),
  place = "Table V, MLP, FF-INT8, against Figure 6a",
  kind = "contradiction",
  evidence = common.text("The curve of the same training levels off at %.1f %%.",
    common.last(paper.figure6.mlp.lookahead.accuracy)),
}

claim {
  id = "bp_int8.below_chance",
  text = common.text("BP-INT8 ends at %.1f %% on MobileNet-V2 and %.1f %% on ResNet-18",
    printed.mobilenet_v2.bp_int8.accuracy, printed.resnet18.bp_int8.accuracy),
  place = "Table V, BP-INT8",
  kind = "contradiction",
  evidence = "Ten classes of 1,000 test images each: a network that always gives the same answer scores 10.0 %.",
}

claim {
  id = "bp_int8.worse_with_depth",
  text = "the deeper the network, the worse BP-INT8",
  place = "Section V-D",
  kind = "contradiction",
  evidence = common.text("EfficientNet-B0 is the deepest of the three on CIFAR-10 and its BP-INT8 the best of them: %.1f %% "
    .. "against %.1f and %.1f.", printed.efficientnet_b0.bp_int8.accuracy, printed.mobilenet_v2.bp_int8.accuracy,
    printed.resnet18.bp_int8.accuracy),
}

claim {
  id = "quantisers.dearer_than_bp_int8",
  text = "BP-UI8 and BP-GDAI8 cost slightly more than BP-INT8",
  place = "Section V-D",
  kind = "contradiction",
  evidence = "In Table V they cost less in 4 of 16 comparisons: BP-GDAI8 in time and both in energy on MobileNet-V2, BP-GDAI8 "
    .. "in energy on ResNet-18.",
}

claim {
  id = "whole_runs",
  text = "the times of Table V are those of whole trainings",
  place = "Table V, against Figures 2 and 6b",
  kind = "contradiction",
  evidence = "FF-INT8 takes 450 to 550 epochs on ResNet-18 and backpropagation 60 to 100, so that an epoch of FF-INT8 would "
    .. "have to take a fifth to a ninth of BP-GDAI8's time, with more arithmetic than it.",
}

return table5
