-- Figure 6: test accuracy of FF-INT8 by epoch, with and without look-ahead, on the MLP (6a) and ResNet-18 (6b). Two
-- readings of each: later units' losses as one number for each sample (scalar) or as the exact gradient of Eq. 3 (chain);
-- without, all units in each step or one after the other.
local figures = require "lib.figures"
local networks = require "networks"
local paper = require "paper".figure6
local tables = require "lib.tables"
local tuned = require "tuned"

local readings = {
  { name = "scalar", title = "look-ahead", paper = "lookahead", lookahead = "scalar" },
  { name = "chain", title = "look-ahead, chain", paper = "lookahead", lookahead = "chain" },
  { name = "off", title = "no look-ahead", paper = "off", lookahead = "off" },
  { name = "greedy", title = "unit after unit", paper = "off", schedule = "greedy" },
}
local presets = { { "tuned", "goodness: tuned" }, { "paper", "goodness: as in the paper" } }

local rows, names, defaults = {}, {}, { mlp = {}, resnet18 = {} }
for _, preset in ipairs(presets) do
  for _, reading in ipairs(readings) do
    local name = preset[1] .. "_" .. reading.name
    rows[#rows + 1] = { "ff_int8", name = name, title = reading.title .. ", " .. preset[1], preset = preset[1],
      paper = reading.paper, lookahead = reading.lookahead, schedule = reading.schedule }
    names[#names + 1] = name
    for model, entries in pairs(defaults) do
      entries[name] = tuned[model]["ff_int8_" .. preset[1]]
    end
  end
end

local function panel(results, model, preset)
  local curves, series = paper[model.name], {}
  for i, reading in ipairs(readings) do
    local row = results:row(preset[1] .. "_" .. reading.name, model.name)
    series[#series + 1] = row and { title = reading.title, colour = i, points = figures.by_epoch(row, "test_accuracy") }
  end
  series[#series + 1] = { title = "paper: look-ahead", paper = true, colour = 1, points = curves.lookahead.accuracy }
  series[#series + 1] = { title = "paper: no look-ahead", paper = true, colour = 3, points = curves.off.accuracy }
  return { title = preset[2], x = figures.epoch_axis(model.rows, curves.off.accuracy[#curves.off.accuracy][1]),
    y = { title = "Test accuracy", unit = "%", from = 0, to = 100 }, series = series }
end

local function table_of(model)
  local list = tables.new { "FF-INT8", "Test %", "Levels off at %", "paper", "In epoch", "paper", "Time s" }
  for _, row in ipairs(model.rows) do
    local level, epoch = figures.plateau(paper[model.name][row.paper].accuracy)
    list:add(row.title, row:text("accuracy"), row:text("plateau", "%.1f"), ("%.1f"):format(level),
      row:text("epochs_to_plateau", "%.4g"), ("%g"):format(epoch), row:text("time"))
  end
  return list
end

local function report(results)
  local blocks = {}
  for _, model in ipairs(results.models) do
    local panels = { panel(results, model, presets[1]), panel(results, model, presets[2]) }
    blocks[#blocks + 1] = { heading = model.title }
    blocks[#blocks + 1] = figures.new { name = "fig6_" .. model.name, panels = panels, rows = model.rows,
      title = "Look-ahead in FF-INT8, " .. model.title,
      caption = "Test accuracy by epoch; mean and range over seeds. Dashed: the paper's Figure 6, read off its plot." }
    blocks[#blocks + 1] = table_of(model)
  end
  blocks[#blocks + 1] = "A curve levels off at the mean of its last fifth, in the first epoch within a point of that. "
    .. "Unit after unit, units that have not learnt yet are asked too: accuracy jumps when the last one learns. The test set "
    .. "was read after every epoch for this figure; nothing was chosen by it."
  return blocks
end

-- One epoch for each of ResNet-18's nine units is the least.
local greedy = { tuned_greedy = { epochs = 9 }, paper_greedy = { epochs = 9 } }

-- Scalar look-ahead multiplies no more, and on the MLP it takes little memory: both follow from the shapes alone.
local scalar = { "tuned_scalar", "paper_scalar" }
local function gates(least)
  return { { rows = names, finishes = true }, { claim = "fig6.mlp.memory" },
    { claim = "fig6.mlp.no_more_work", rows = scalar }, { claim = "fig6.resnet18.no_more_work", rows = scalar },
    { row = "tuned_scalar", model = "mlp", metric = "accuracy", at_least = least } }
end

return experiment {
  name = "fig6",
  title = "Figure 6: FF-INT8 with and without look-ahead",
  models = {
    mlp = networks.mlp { title = "MLP", test_by_epoch = true },
    resnet18 = networks.resnet18 { test_by_epoch = true },
  },
  algorithms = rows,
  defaults = defaults,
  profiles = {
    smoke = { epochs = 4, train_limit = 4000, eval_limit = 500, seeds = { 1 },
      models = { resnet18 = { epochs = 2, train_limit = 160, eval_limit = 20, algorithms = greedy } } },
    quick = { epochs = 16, eval_limit = 2000, seeds = { 1 },
      models = { resnet18 = { epochs = 3, train_limit = 8000, eval_limit = 500, algorithms = greedy } } },
    paper = { epochs = 250, seeds = { 1, 2, 3 }, models = { resnet18 = { epochs = 1000, seeds = { 1 } } } },
    reference = { models = { mlp = "paper", resnet18 = "quick" } },
  },
  report = report,
  claims = require "claims".fig6,
  gates = { smoke = gates(30), quick = gates(90), paper = gates(90) },
}
