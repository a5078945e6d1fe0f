-- Figure 6: test accuracy of FF-INT8 by epoch, with and without look-ahead, on the MLP (6a) and ResNet-18 (6b). Two
-- readings of each: later units' losses as one number for each sample (scalar) or as the exact gradient of Eq. 3 (chain);
-- without, all units in each step or one after the other.
local figures = require "lib.figures"
local paper = require "paper"
local tables = require "lib.tables"
local tuned = require "tuned"

local readings = {
  { name = "scalar", title = "look-ahead", paper = "lookahead", options = { lookahead = "scalar" } },
  { name = "chain", title = "look-ahead, chain", paper = "lookahead", options = { lookahead = "chain" } },
  { name = "off", title = "no look-ahead", paper = "off", options = { lookahead = "off" } },
  { name = "greedy", title = "unit after unit", paper = "off", options = { schedule = "greedy" } },
}
local presets = { { name = "tuned", title = "goodness: tuned" }, { name = "paper", title = "goodness: as in the paper" } }

local rows, defaults = {}, { mlp = {}, resnet18 = {} }
for _, preset in ipairs(presets) do
  for _, reading in ipairs(readings) do
    local row = { "ff_int8", name = preset.name .. "_" .. reading.name, title = reading.title .. ", " .. preset.name,
      preset = preset.name, paper = reading.paper }
    for option, value in pairs(reading.options) do
      row[option] = value
    end
    rows[#rows + 1] = row
    for model, entries in pairs(defaults) do
      entries[row.name] = tuned[model]["ff_int8_" .. preset.name]
    end
  end
end

local function panel(results, model, preset)
  local curves, series = paper.figure6[model.name], {}
  for i, reading in ipairs(readings) do
    local row = results:row(preset.name .. "_" .. reading.name, model.name)
    if row then
      series[#series + 1] = { title = reading.title, colour = i, points = figures.by_epoch(row, "test_accuracy") }
    end
  end
  series[#series + 1] = { title = "paper: look-ahead", paper = true, colour = 1, points = curves.lookahead.accuracy }
  series[#series + 1] = { title = "paper: no look-ahead", paper = true, colour = 3, points = curves.off.accuracy }
  local longest = curves.off.accuracy[#curves.off.accuracy][1]
  return { title = preset.title, x = figures.epoch_axis(model.rows, longest),
    y = { title = "Test accuracy", unit = "%", from = 0, to = 100 }, series = series }
end

local function number(value, format)
  return value and (format or "%.1f"):format(value) or "-"
end

local function table_of(results, model)
  local list = tables.new { "FF-INT8", "Test %", "Levels off at %", "paper", "In epoch", "paper", "Time s" }
  for _, preset in ipairs(presets) do
    for _, reading in ipairs(readings) do
      local row = results:row(preset.name .. "_" .. reading.name, model.name)
      if row then
        local level, epoch = figures.plateau(figures.by_epoch(row, "test_accuracy"))
        local paper_level, paper_epoch = figures.plateau(paper.figure6[model.name][reading.paper].accuracy)
        list:add(row.title, row:text("accuracy"), number(level), number(paper_level), number(epoch, "%g"),
          number(paper_epoch, "%g"), row:text("time"))
      end
    end
  end
  return list
end

local function report(results)
  local blocks = {}
  for _, model in ipairs(results.models) do
    local panels = {}
    for i, preset in ipairs(presets) do
      panels[i] = panel(results, model, preset)
    end
    blocks[#blocks + 1] = { heading = model.title }
    blocks[#blocks + 1] = figures.new { name = "fig6_" .. model.name, panels = panels, rows = model.rows,
      title = "Look-ahead in FF-INT8, " .. model.title,
      caption = "Test accuracy by epoch; mean and range over seeds. Dashed: the paper's Figure 6, read off its plot." }
    blocks[#blocks + 1] = table_of(results, model)
  end
  blocks[#blocks + 1] = "A curve levels off at the mean of its last fifth, in the first epoch within a point of that. "
    .. "The test set was read after every epoch for this figure; nothing was chosen by it."
  return blocks
end

-- One epoch for each of ResNet-18's nine units is the least.
local greedy = { tuned_greedy = { epochs = 9 }, paper_greedy = { epochs = 9 } }

return experiment {
  name = "fig6",
  title = "Figure 6: FF-INT8 with and without look-ahead",
  models = {
    mlp = { dataset = "mnist", title = "MLP", batch = 32, test_by_epoch = true },
    resnet18 = { dataset = "cifar10", title = "ResNet-18", batch = 32, standardise = true, crop_padding = 4, flip = true,
      test_by_epoch = true },
  },
  algorithms = rows,
  defaults = defaults,
  profiles = {
    smoke = { epochs = 4, train_limit = 4000, eval_limit = 500, seeds = { 1 },
      models = { resnet18 = { epochs = 2, train_limit = 160, eval_limit = 20, algorithms = greedy } } },
    quick = { epochs = 16, eval_limit = 2000, seeds = { 1 },
      models = { resnet18 = { epochs = 3, train_limit = 8000, eval_limit = 500, algorithms = greedy } } },
    paper = { epochs = 250, seeds = { 1, 2, 3 }, models = { resnet18 = { epochs = 1000, seeds = { 1 } } } },
  },
  report = report,
  claims = require "claims".fig6,
}
