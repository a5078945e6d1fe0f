-- Figure 2: loss and accuracy of ResNet-18 by epoch, in FP32 and with gradients quantised directly to INT8. What range the
-- paper quantises gradients over is not stated: that of each tensor (BP-INT8 everywhere else), or a fixed one.
local figures = require "lib.figures"
local networks = require "networks"
local paper = require "paper"
local results_of = require "lib.results"
local tables = require "lib.tables"

local curves = paper.figure2

local function series_of(model, key, paper_key)
  local list = {}
  for i, row in ipairs(model.rows) do
    list[i] = { title = row.title, colour = i, points = figures.by_epoch(row, key) }
  end
  list[#list + 1] = { title = "paper: FP32", paper = true, colour = 1, points = curves.bp_fp32[paper_key] }
  list[#list + 1] = { title = "paper: INT8", paper = true, colour = 2, points = curves.bp_int8[paper_key] }
  return list
end

local function last_of(points)
  return results_of.number_text(points[#points][2], "%g")
end

local function first_not_finite(points)
  for _, point in ipairs(points) do
    if point[2] == math.huge then
      return ("%g"):format(point[1])
    end
  end
  return "-"
end

local function table_of(model)
  local list = tables.new { "ResNet-18", "Test %", "paper", "Loss", "paper", "Not finite from epoch", "paper" }
  for _, row in ipairs(model.rows) do
    local printed = curves[row.algorithm]
    list:add(row:label(), row:text("accuracy"), last_of(printed.accuracy),
      row:plain("loss", "%.3f"), last_of(printed.loss), row:plain("diverged_in", "%.4g"), first_not_finite(printed.loss))
  end
  return list
end

local function report(results)
  local model = results.models[1]
  local epochs = figures.epoch_axis(model.rows, curves.bp_fp32.loss[#curves.bp_fp32.loss][1])
  -- A log scale, so that a loss on its way to infinity does not press the others flat.
  local loss = { x = epochs, y = { title = "Training loss", from = 0.01, scale = "log" },
    series = series_of(model, "loss", "loss") }
  local accuracy = { x = epochs, y = { title = "Test accuracy", unit = "%", from = 0, to = 100 },
    series = series_of(model, "test_accuracy", "accuracy") }
  return {
    figures.new { name = "fig2", title = "ResNet-18 with gradients quantised directly", panels = { loss, accuracy },
      caption = "Mean and range over seeds. Dashed: the paper's Figure 2, read off its plot. Training ends where the loss is "
        .. "no longer finite." },
    table_of(model),
    "The test set was read after every epoch for this figure; nothing was chosen by it.",
  }
end

-- INT8 that diverges is what the paper shows.
local finishing = {
  { row = "bp_fp32", finishes = true },
  { rows = { "bp_int8", "bp_int8_fixed" }, finishes = true, may_diverge = true },
}
local learning = { finishing[1], finishing[2],
  { row = "bp_fp32", dataset = "cifar10", metric = "accuracy", at_least = 25 } }

return experiment {
  name = "fig2",
  title = "Figure 2: gradients quantised directly to INT8",
  models = { resnet18 = networks.resnet18 { test_by_epoch = true } },
  algorithms = {
    { "bp_fp32", title = "FP32" },
    { "bp_int8", title = "INT8" },
    { "bp_int8", name = "bp_int8_fixed", title = "INT8, fixed range", gradient_range = 1,
      note = "every gradient quantised over -1 to 1, not over its largest value" },
  },
  defaults = require "tuned",
  profiles = {
    smoke = { epochs = 2, train_limit = 640, eval_limit = 100, seeds = { 1 } },
    quick = { epochs = 4, train_limit = 16000, eval_limit = 1000, seeds = { 1 } },
    paper = { epochs = 100, seeds = { 1, 2, 3 } },
    reference = "quick",
  },
  report = report,
  claims = require "claims".fig2,
  gates = { smoke = finishing, quick = learning, paper = learning },
}
