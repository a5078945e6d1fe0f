-- Numbers and curves from record.gradients (docs/measurement.md), of the first layer that was asked for.
--
--   gradients.text(row, epoch, measure)           as row:text; epoch 0 is before training, "last" the end
--   gradients.title(measure)                      with its unit
--   gradients.over_training(series_of)            panels of a figure: series_of(points) gives a panel's series, points(row)
--                                                 a curve
--   gradients.histogram(row, epoch, least)        points {value, share in percent} of all seeds' values together
--   gradients.by_epoch(row, measure)              points {epoch, mean, lowest, highest} over the seeds
--   gradients.gates(rows, epochs)                 the runs finish, and their gradients were taken
local results_of = require "lib.results"
local statistics = require "lib.statistics"

local gradients = {}

local inner_share = 0.99 -- of the values that are not 0, within the reach

local function entries(record)
  return type(record.gradients) == "table" and record.gradients or {}
end

local function layer_of(record, epoch)
  local list = entries(record)
  for i, entry in ipairs(list) do
    if entry.epoch == epoch or (epoch == "last" and i == #list) then
      return entry.layers[1]
    end
  end
  return nil
end

local function plainly(key, factor)
  return function(layer)
    local value = results_of.at_path(layer, key)
    return type(value) == "number" and factor * value or nil
  end
end

local function largest(layer)
  local low, high = results_of.at_path(layer, "minimum"), results_of.at_path(layer, "maximum")
  return type(low) == "number" and type(high) == "number" and 1000 * math.max(high, -low) or nil
end

local function zeros(layer)
  return 100 * layer.zeros / layer.values
end

-- The highest bin, in percent of the values that are not 0.
local function peak(layer)
  local others, highest = layer.values - layer.zeros, math.max(table.unpack(layer.histogram.counts))
  return others > 0 and 100 * highest / others or nil
end

-- Half the width of the range of whole bins around 0 that holds 99 % of the values that are not 0.
local function reach(layer)
  local counts, limit = layer.histogram.counts, layer.histogram.limit
  local middle, wanted = (#counts + 1) // 2, inner_share * (layer.values - layer.zeros)
  local held = counts[middle]
  for step = 0, middle - 1 do
    held = held + (step > 0 and counts[middle - step] + counts[middle + step] or 0)
    if held >= wanted then
      return 1000 * limit * (2 * step + 1) / #counts
    end
  end
  return nil
end

-- Gradients themselves are told in thousandths.
local measures = {
  kurtosis = { title = "excess kurtosis", digits = "%.1f", scale = "log", read = plainly("kurtosis", 1) },
  largest_over_median = { title = "largest over median", digits = "%.0f", scale = "log",
    read = plainly("largest_over_median", 1) },
  int8_zeros = { title = "turned to 0 by INT8", unit = "%", digits = "%.1f", read = plainly("int8_zero_share", 100) },
  zeros = { title = "no gradient", unit = "%", digits = "%.1f", read = zeros },
  deviation = { title = "deviation", unit = "10⁻³", digits = "%.2f", read = plainly("deviation", 1000) },
  largest = { title = "largest", unit = "10⁻³", digits = "%.1f", read = largest },
  peak = { title = "highest bin", unit = "%", digits = "%.1f", read = peak },
  reach = { title = "99 % lie within ±", unit = "10⁻³", digits = "%.2f", read = reach },
}

function gradients.title(measure)
  local of = measures[measure]
  return of.unit and ("%s (%s)"):format(of.title, of.unit) or of.title
end

-- gradients.1.kurtosis is that after the first epoch.
local function metric_of(name)
  local stage, measure = name:match("^gradients%.(%w+)%.([%w_]+)$")
  local of, epoch = measures[measure], math.tointeger(tonumber(stage)) or stage
  return of and {
    title = ("%s of the gradient, epoch %s"):format(of.title, stage),
    unit = of.unit or "",
    wants_data = true,
    read = function(record)
      local layer = layer_of(record, epoch)
      return layer and of.read(layer)
    end,
    why = function(record)
      return layer_of(record, epoch) and measure == "reach" and "beyond the histogram" or nil
    end,
  } or nil
end
table.insert(results_of.finders, metric_of)

-- The mean over the seeds with its spread, or a dash with the reason. Numbers that have no place in a column are told by their
-- power of ten.
function gradients.text(row, epoch, measure)
  local name, digits = ("gradients.%s.%s"):format(epoch, measure), measures[measure].digits
  local mean = row:mean(name)
  local lost = mean and mean ~= 0 and (math.abs(mean) >= 1e5 or tonumber(digits:format(mean)) == 0)
  return row:text(name, lost and "%.2g" or digits)
end

function gradients.histogram(row, epoch, least)
  local sums, total, limit = {}, 0, 0
  for _, cell in ipairs(row.cells) do
    local layer = cell.record and layer_of(cell.record, epoch)
    for i, count in ipairs(layer and layer.histogram.counts or {}) do
      sums[i] = (sums[i] or 0) + count
    end
    total = total + (layer and layer.values - layer.zeros or 0)
    limit = layer and layer.histogram.limit or limit
  end
  local points = {}
  for i, count in ipairs(sums) do
    points[i] = { 1000 * limit * ((2 * i - 1) / #sums - 1), math.max(100 * count / total, least) }
  end
  return points
end

function gradients.by_epoch(row, measure)
  local of_epoch, points = {}, {}
  for _, cell in ipairs(row.cells) do
    for i, entry in ipairs(cell.record and entries(cell.record) or {}) do
      of_epoch[i] = of_epoch[i] or { epoch = entry.epoch }
      local values = of_epoch[i]
      values[#values + 1] = measures[measure].read(entry.layers[1])
    end
  end
  for _, values in ipairs(of_epoch) do
    if #values > 0 then
      local low, high = math.min(table.unpack(values)), math.max(table.unpack(values))
      points[#points + 1] = { values.epoch, statistics.mean(values), low, high }
    end
  end
  return points
end

function gradients.over_training(series_of)
  local panels = {}
  for i, measure in ipairs { "kurtosis", "largest_over_median", "int8_zeros" } do
    local of = measures[measure]
    panels[i] = { x = { title = "Epoch" }, series = series_of(function(row) return gradients.by_epoch(row, measure) end),
      y = { title = (of.title:gsub("^%l", string.upper)), unit = of.unit, scale = of.scale, from = not of.scale and 0 or nil } }
  end
  return panels
end

-- What the measures of any sample of numbers lie between.
local bounds = { { "peak", 0, 100 }, { "int8_zeros", 0, 100 }, { "largest_over_median", 1 }, { "kurtosis", -2 } }

function gradients.gates(rows, epochs)
  local list = { { rows = rows, finishes = true } }
  for _, epoch in ipairs(epochs) do
    for _, bound in ipairs(bounds) do
      list[#list + 1] = { rows = rows, metric = ("gradients.%s.%s"):format(epoch, bound[1]), at_least = bound[2],
        at_most = bound[3] }
    end
  end
  return list
end

return gradients
