-- What the paper claims, in our words, as data: lib/verdicts.lua says what each field means and gives the verdict. An
-- experiment takes the list that belongs to it: claims = require "claims".table5. Claims on a network that an
-- experiment does not train are left out there.
local paper = require "paper"

-- How far off still counts, by profile; a profile that is left out is too small to judge by.
local memory_change = { smoke = 5, quick = 5, paper = 5 } -- per cent: planned memory does not depend on the epochs
local cost_change = { quick = 10, paper = 10 } -- per cent, of time and energy, at equal epochs
local board = "Jetson Orin Nano"

-- Profiles that train a network long enough to judge what it learns: ten epochs do for the MLP, a few epochs on a part of
-- CIFAR-10 do not for the others.
local trained = {
  mlp = { "quick", "paper" },
  mobilenet_v2 = { "paper" },
  efficientnet_b0 = { "paper" },
  resnet18 = { "paper" },
}
local points = {
  mlp = { quick = 2.0, paper = 1.0 },
  mobilenet_v2 = { paper = 1.0 },
  efficientnet_b0 = { paper = 1.0 },
  resnet18 = { paper = 1.0 },
}
local measured_costs = { "quick", "paper" } -- of time and energy: enough steps to compare algorithms

local table5 = {}

local function claim(entry)
  table5[#table5 + 1] = entry
end

local function share(value, part)
  return { smoke = part * value, quick = part * value, paper = part * value }
end

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
      id = ("table5.%s.%s.%s"):format(model, row, metric),
      text = metric .. " of {row}",
      place = printed.place,
      kind = "value",
      model = model,
      row = row,
      metric = metric,
      paper = printed.value,
      tolerance = metric == "accuracy" and points[model] or share(printed.value, 0.1),
      machine = costs_here and board or nil,
    }
  end
end

local function claim_changes(model, base)
  for _, metric in ipairs(metrics) do
    local printed = paper.table5_changes[model][base][metric]
    claim {
      id = ("table5.%s.ff_int8.%s_against_%s"):format(model, metric, base),
      text = ("%s of {row} against %s"):format(metric, paper.algorithms[base]),
      place = printed.place,
      kind = metric == "accuracy" and "difference" or "change",
      model = model,
      row = "ff_int8",
      base = base,
      metric = metric,
      paper = printed.value,
      tolerance = metric == "accuracy" and points[model] or metric == "memory" and memory_change or cost_change,
    }
  end
end

local function claim_sentences(model)
  local place = "Table V, " .. paper.models[model]
  claim {
    id = ("table5.%s.bp_int8.collapses"):format(model),
    text = "{row} collapses: 20 points below BP-FP32",
    place = ("Section V-D; %s, BP-INT8"):format(place),
    kind = "difference",
    model = model,
    row = "bp_int8",
    base = "bp_fp32",
    metric = "accuracy",
    at_most = -20,
    profiles = trained[model],
  }
  claim {
    id = ("table5.%s.ff_int8.near_gdai8"):format(model),
    text = "{row} within 1 point of BP-GDAI8, or above",
    place = "Section V-D; " .. place,
    kind = "difference",
    model = model,
    row = "ff_int8",
    base = "bp_gdai8",
    metric = "accuracy",
    at_least = -1,
    profiles = trained[model],
  }
  for _, metric in ipairs { "energy", "memory", "time" } do
    local order = table.move(rows, 1, #rows, 1, {})
    table.sort(order, function(a, b)
      return paper.table5[model][a][metric].value < paper.table5[model][b][metric].value
    end)
    claim {
      id = ("table5.%s.%s_order"):format(model, metric),
      text = "order by " .. metric,
      place = ("%s, %s"):format(place, metric),
      kind = "order",
      model = model,
      rows = order,
      metric = metric,
      profiles = metric ~= "memory" and measured_costs or nil,
    }
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
  for _, metric in ipairs { "time", "energy", "memory" } do
    local printed = paper.table5_averages[base][metric]
    claim {
      id = ("table5.average.%s_against_%s"):format(metric, base),
      text = ("%s of {row} against %s on average"):format(metric, paper.algorithms[base]),
      place = printed.place,
      kind = "average",
      models = models,
      row = "ff_int8",
      base = base,
      metric = metric,
      paper = printed.value,
      tolerance = metric == "memory" and memory_change or cost_change,
    }
  end
end

-- Where the paper's own numbers do not fit together.
claim {
  id = "table5.average_memory",
  text = "FF-INT8 takes 27.0 % less memory than BP-GDAI8 on average",
  place = "Table V, last row; abstract",
  kind = "contradiction",
  evidence = "The four networks give 22.9, 24.5, 27.0 and 23.7 %, mean 24.5 %; the printed average is EfficientNet-B0's.",
}

claim {
  id = "table5.efficientnet_b0.ff_int8.difference",
  text = "FF-INT8 is 0.2 points below BP-GDAI8 on EfficientNet-B0",
  place = "Table V, EfficientNet-B0, FF-INT8, accuracy, second bracket",
  kind = "contradiction",
  evidence = "The row's own accuracies, 88.6 and 88.9 %, differ by 0.3.",
}

claim {
  id = "table5.mlp.ff_int8.plateau",
  text = "FF-INT8 reaches 94.3 % on the MLP",
  place = "Table V, MLP, FF-INT8, against Figure 6a",
  kind = "contradiction",
  evidence = "The curve of the same training levels off at 92.5 %.",
}

claim {
  id = "table5.bp_int8.below_chance",
  text = "BP-INT8 ends at 5.9 % on MobileNet-V2 and 7.2 % on ResNet-18",
  place = "Table V, BP-INT8",
  kind = "contradiction",
  evidence = "Ten classes of 1,000 test images each: a network that always gives the same answer scores 10.0 %.",
}

return { table5 = table5 }
