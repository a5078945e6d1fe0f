-- Figures: what a report function returns to have a picture drawn.
--
--   figures.new {
--     name = "fig6",                                        -- plots/fig6.svg, .png and .gp in the results folder
--     title = "...", caption = "...",                       -- above the picture; below it, in the report
--     rows = { row, ... },                                  -- whose runs the footer names; by default all
--     x = { title = "Epoch", unit = nil, from = 0, to = 250, scale = "log" }, y = { title = "Accuracy", unit = "%" },
--     series = {
--       { title = "ours", points = { { x, y }, ... } },                      -- or { x, y, low, high }: with a band
--       { title = "the paper", paper = true, colour = 1, points = { ... } }, -- pale and dashed, behind the others
--     },
--   }
-- or, instead of x, y and series, panels = { { title =, x =, y =, series = }, ... }, one above the other. style is line
-- (the default), points, line_points, steps or bars. colour is 1 to 7, by default in order, grey for the paper. A y of
-- math.huge or 0/0 is drawn at the upper edge as not finite. The program makes the gnuplot script (harness/figure.h).

local curves = require "lib.curves"
local results_of = require "lib.results"
local statistics = require "lib.statistics"

local figures = {}

local methods = {}
methods.__index = methods

local allowed = {
  figure = { name = "string", title = "string", caption = "string", x = "table", y = "table", series = "table",
    panels = "table", rows = "table" },
  panel = { title = "string", x = "table", y = "table", series = "table" },
  axis = { title = "string", unit = "string", from = "number", to = "number", scale = "string" },
  series = { title = "string", points = "table", style = "string", colour = "number", paper = "boolean" },
}

local function check(value, kind, where, wanted)
  if type(value) ~= "table" then
    error(("%s must be a table, not a %s"):format(where, type(value)), 0)
  end
  for key, content in pairs(value) do
    local expected = allowed[kind][key]
    if not expected then
      local names = {}
      for name in pairs(allowed[kind]) do
        names[#names + 1] = name
      end
      error(('%s has no key "%s": there are %s'):format(where, tostring(key), table.concat(names, ", ")), 0)
    elseif type(content) ~= expected then
      error(("%s: %s must be a %s, not a %s"):format(where, key, expected, type(content)), 0)
    end
  end
  for _, key in ipairs(wanted) do
    if value[key] == nil then
      error(("%s has no %s"):format(where, key), 0)
    end
  end
end

local function check_panel(panel, where)
  check(panel.x, "axis", where .. ": x", { "title" })
  check(panel.y, "axis", where .. ": y", { "title" })
  for i, series in ipairs(panel.series) do
    check(series, "series", ("%s: series %d"):format(where, i), { "title", "points" })
  end
end

local function coloured(panel)
  local made, used = {}, 0
  for i, series in ipairs(panel.series) do
    local colour = series.colour
    if not colour and not series.paper then
      used = used % 7 + 1
      colour = used
    end
    made[i] = { title = series.title, points = series.points, style = series.style, paper = series.paper,
      colour = colour or 0 }
  end
  return { title = panel.title, x = panel.x, y = panel.y, series = made }
end

function figures.new(description)
  check(description, "figure", "a figure", { "name", "title" })
  local where = "figure " .. description.name
  if (description.panels ~= nil) == (description.series ~= nil) then
    error(where .. ": give it either x, y and series, or panels", 0)
  end
  local panels = description.panels or { { x = description.x, y = description.y, series = description.series } }
  local made = { name = description.name, title = description.title, caption = description.caption,
    rows = description.rows, panels = {} }
  for i, panel in ipairs(panels) do
    local here = #panels > 1 and ("%s, panel %d"):format(where, i) or where
    check(panel, "panel", here, { "x", "y", "series" })
    check_panel(panel, here)
    made.panels[i] = coloured(panel)
  end
  return setmetatable(made, methods)
end

function figures.is(value)
  return getmetatable(value) == methods
end

-- ---- points from records -----------------------------------------------------------------------------------------

local function is_finite(value)
  return value == value and math.abs(value) ~= math.huge
end

-- One epoch's values over the seeds: a point {x, y} or {x, y, low, high}.
local function point_of(epoch, values)
  local low, high = math.huge, -math.huge
  for _, value in ipairs(values) do
    if not is_finite(value) then
      return { epoch, value }
    end
    low, high = math.min(low, value), math.max(high, value)
  end
  local mean = statistics.mean(values)
  return #values > 1 and { epoch, mean, low, high } or { epoch, mean }
end

-- A number of each epoch, such as "loss" or "validation_accuracy": mean over the seeds that got so far, with the lowest
-- and the highest. What is not finite for one seed is not finite for the mean.
function figures.by_epoch(row, key)
  local of_epoch, last = {}, 0
  for _, cell in ipairs(row.cells) do
    for _, entry in ipairs(cell.record and cell.record.epochs or {}) do
      local value = results_of.at_path(entry, key)
      if type(value) == "number" then
        of_epoch[entry.epoch] = of_epoch[entry.epoch] or {}
        table.insert(of_epoch[entry.epoch], value)
        last = math.max(last, entry.epoch)
      end
    end
  end
  local points = {}
  for epoch = 1, last do
    if of_epoch[epoch] then
      points[#points + 1] = point_of(epoch, of_epoch[epoch])
    end
  end
  return points
end

-- An axis of epochs that has room for the paper's curve. Where ours is much shorter, its beginning is drawn wide.
function figures.epoch_axis(rows, paper_last)
  local last = 1
  for _, row in ipairs(rows) do
    for _, cell in ipairs(row.cells) do
      last = math.max(last, cell.record and #(cell.record.epochs or {}) or 0)
    end
  end
  local short = 2 * last < paper_last
  return { title = "Epoch", from = short and 1 or 0, to = math.max(last, paper_last), scale = short and "log" or "linear" }
end

-- Where a curve levels off: the mean of its last fifth, and the first epoch that comes within a point of it.
figures.plateau = curves.plateau_of

-- ---- in the report -----------------------------------------------------------------------------------------------

-- "mlp-ff_int8-mnist-s1-6b002093863c.json" is run 6b002093.
function figures.run_id(file)
  return file:match("(%x%x%x%x%x%x%x%x)%x*%.json$") or file:gsub("%.json$", "")
end

local runs_shown = 6

local function run_of(cell)
  return cell.record and figures.run_id(cell.file)
end

local function replaced_dataset(cell)
  return cell.planned_dataset ~= cell.config.dataset and cell.planned_dataset
end

local function runs_text(runs)
  if #runs == 0 then
    return "no run yet"
  elseif #runs <= runs_shown then
    return (#runs == 1 and "run " or "runs ") .. table.concat(runs, " ")
  end
  return ("runs %s and %d more"):format(table.concat(runs, " ", 1, runs_shown - 1), #runs - runs_shown + 1)
end

local function footer(figure, results)
  local texts = { "ffbench, " .. results:profile_text(figure.rows), runs_text(results:distinct(run_of, figure.rows)) }
  for _, name in ipairs(results:distinct(replaced_dataset, figure.rows)) do
    texts[#texts + 1] = "SYNTHETIC DATA instead of " .. name
  end
  return table.concat(texts, "; ")
end

-- What the program draws from.
function figures.description(figure, results)
  return { name = figure.name, title = figure.title, footer = footer(figure, results), panels = figure.panels }
end

local function file_of(figure, ending)
  return ("plots/%s.%s"):format(figure.name, ending)
end

local function caption(figure)
  return figure.caption and figure.caption .. " " or ""
end

function figures.markdown(figure, draws)
  if not draws then
    return ("%s: not drawn, because gnuplot is missing here. %sIts script is [%s](%s).")
      :format(figure.title, caption(figure), file_of(figure, "gp"), file_of(figure, "gp"))
  end
  return ("![%s](%s)\n\n%sAlso as [PNG](%s), with its [script](%s)."):format(figure.title, file_of(figure, "svg"),
    caption(figure), file_of(figure, "png"), file_of(figure, "gp"))
end

function figures.terminal(figure, draws)
  return ("%s: %s"):format(figure.title, draws and file_of(figure, "png") or "not drawn, because gnuplot is missing")
end

return figures
