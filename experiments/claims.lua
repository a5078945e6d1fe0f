-- What the paper claims, in our words, as data: lib/verdicts.lua says what each field means and gives the verdict. An
-- experiment takes the list that belongs to it: claims = require "claims".table5. Claims on a network that an
-- experiment does not train are left out there.
local paper = require "paper"

-- How far off still counts, by profile; a profile that is left out is too small to judge by.
local points = { quick = 2.0, paper = 1.0 } -- of accuracy
local memory_change = { smoke = 5, quick = 5, paper = 5 } -- per cent: planned memory does not depend on the epochs
local cost_change = { quick = 10, paper = 10 } -- per cent, of time and energy
local trained = { "quick", "paper" } -- profiles that train long enough to judge what comes of it
local board = "Jetson Orin Nano"

local table5 = {}

local function claim(entry)
  table5[#table5 + 1] = entry
end

local function share(value, part)
  return { smoke = part * value, quick = part * value, paper = part * value }
end

local in_order = { "bp_fp32", "bp_int8", "bp_ui8", "bp_gdai8", "ff_int8" }

-- The numbers of Table V. Seconds and joules depend on the machine; what carries over is their change, further down.
for model in pairs(paper.table5) do
  for _, row in ipairs(in_order) do
    for _, metric in ipairs { "accuracy", "time", "energy", "memory" } do
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
        tolerance = metric == "accuracy" and points or share(printed.value, 0.1),
        machine = costs_here and board or nil,
      }
    end
  end
  for _, base in ipairs { "bp_fp32", "bp_gdai8" } do
    for _, metric in ipairs { "accuracy", "time", "energy", "memory" } do
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
        tolerance = metric == "accuracy" and points or metric == "memory" and memory_change or cost_change,
      }
    end
  end
end

-- Sentences.
claim {
  id = "table5.mlp.bp_int8.collapses",
  text = "{row} collapses: 20 points below BP-FP32",
  place = "Section V-D; Table V, MLP, BP-INT8",
  kind = "difference",
  model = "mlp",
  row = "bp_int8",
  base = "bp_fp32",
  metric = "accuracy",
  at_most = -20,
  profiles = trained,
}

claim {
  id = "table5.mlp.ff_int8.near_gdai8",
  text = "{row} within 1 point of BP-GDAI8, or above",
  place = "Section V-D; Table V, MLP",
  kind = "difference",
  model = "mlp",
  row = "ff_int8",
  base = "bp_gdai8",
  metric = "accuracy",
  at_least = -1,
  profiles = trained,
}

for metric, rows in pairs {
  time = { "ff_int8", "bp_int8", "bp_ui8", "bp_gdai8", "bp_fp32" },
  energy = { "ff_int8", "bp_int8", "bp_ui8", "bp_gdai8", "bp_fp32" },
  memory = { "ff_int8", "bp_gdai8", "bp_ui8", "bp_int8", "bp_fp32" },
} do
  claim {
    id = ("table5.mlp.%s_order"):format(metric),
    text = ("order by %s"):format(metric),
    place = "Table V, MLP, " .. metric,
    kind = "order",
    model = "mlp",
    rows = rows,
    metric = metric,
    profiles = metric ~= "memory" and trained or nil,
  }
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
