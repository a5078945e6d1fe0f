-- Figure 3: what the gradient of the first layer's weights looks like in FP32, with 0 to 3 hidden layers. Of the MLPs of
-- Table I, before training, after the first epoch and over training. docs/measurement.md says how it is taken.
local figures = require "lib.figures"
local gradients = require "lib.gradients"
local networks = require "networks"
local paper = require "paper".figure3
local tables = require "lib.tables"

local least = 0.01 -- percent: what is rarer lies on the picture's lower edge
local batch = 32 -- records that the gradient is taken over
local stages = { { 0, "before training" }, { 1, "after epoch 1" }, { "last", "after the last epoch" } }
local measures = { -- with what the paper's picture shows of them
  { "kurtosis" }, { "largest_over_median" }, { "int8_zeros" }, { "largest" }, { "zeros" },
  { "peak", { paper.hidden0.peak_share, paper.hidden1.peak_share, paper.hidden2.peak_share } },
  { "reach", { 1000 * paper.hidden0.bulk, 1000 * paper.hidden1.bulk, 1000 * paper.hidden2.bulk } },
}

local function stage_table(results, name, stage)
  local columns = { "" }
  for i, model in ipairs(results.models) do
    columns[i + 1] = model.title
  end
  columns[#columns + 1] = { title = "paper (0, 1, 2)", align = "left" }
  local list = tables.new(columns)
  for _, measure in ipairs(measures) do
    local texts = { gradients.title(measure[1]) }
    for i, model in ipairs(results.models) do
      local row = results:row(name, model.name)
      texts[i + 1] = row and gradients.text(row, stage, measure[1]) or "-"
    end
    texts[#texts + 1] = measure[2] and ("%g, %g, %g"):format(table.unpack(measure[2])) or "-"
    list:add(table.unpack(texts))
  end
  return list
end

local function curves(results, name, style, points)
  local series = {}
  for i, model in ipairs(results.models) do
    local row = results:row(name, model.name)
    series[i] = { title = model.title .. " layers", style = style, points = row and points(row) or {} }
  end
  return series
end

local function report(results)
  local blocks = {}
  for _, row in ipairs(results.models[1].rows) do
    local panels, bins = {}, #gradients.histogram(row, 1, least)
    for i, stage in ipairs(stages) do
      blocks[#blocks + 1] = { heading = row.title .. ", " .. stage[2] }
      blocks[#blocks + 1] = stage_table(results, row.name, stage[1])
      panels[i] = { title = stage[2], y = { title = "Share of values", unit = "%", from = least, to = 100, scale = "log" },
        x = { title = "Gradient", unit = "10⁻³", from = -1000 * paper.axis, to = 1000 * paper.axis },
        series = curves(results, row.name, "steps", function(of) return gradients.histogram(of, stage[1], least) end) }
    end
    blocks[#blocks + 1] = figures.new { name = "fig3_" .. row.name, title = "First layer's gradient, " .. row.title,
      panels = panels, caption = ("Weights without gradient left out, all seeds together%s; the paper has about %d bins.")
        :format(bins > 0 and (", %d bins"):format(bins) or "", paper.bins) }
    blocks[#blocks + 1] = figures.new { name = "fig3_training_" .. row.name, title = "Gradient over training, " .. row.title,
      panels = gradients.over_training(function(points) return curves(results, row.name, "line_points", points) end),
      caption = "Mean over seeds, with the lowest and the highest. A normal distribution's excess kurtosis is 0." }
  end
  blocks[#blocks + 1] = ("The gradient of the mean loss over the first %d training records, a batch such as BP-INT8 rounds; "
    .. "median, INT8 and bins are over the weights that have one. Once a network fits that batch, its gradient all but "
    .. "vanishes, and the median with it. The paper's numbers are read off its print; when they were taken, and over how "
    .. "many records, it does not say. The learning rate of standardised inputs was not searched.")
    :format(batch)
  return blocks
end

local models = {}
for hidden = 0, 3 do
  models[#models + 1] = networks.hidden(hidden, { title = hidden .. " hidden", gradient_statistics = batch,
    histogram_range = paper.axis })
end

local measured = gradients.gates({ "bp_fp32", "standardised" }, { 0, 1, "last" })

return experiment {
  name = "fig3",
  title = "Figure 3: the gradient of the first layer's weights",
  models = models,
  algorithms = {
    { "bp_fp32", title = "inputs from 0 to 1" },
    { "bp_fp32", name = "standardised", title = "standardised inputs", standardise = true, learning_rate = 0.02 },
  },
  defaults = require "tuned",
  profiles = {
    smoke = { epochs = 2, train_limit = 2000, eval_limit = 500, seeds = { 1 } },
    quick = { epochs = 5, eval_limit = 1000, seeds = { 1, 2, 3 } },
    paper = { epochs = 30, seeds = { 1, 2, 3 } },
    reference = "paper",
  },
  report = report,
  claims = require "claims".fig3,
  gates = { smoke = measured, quick = measured, paper = measured },
}
