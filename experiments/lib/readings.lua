-- The report of experiments/readings.lua: for each question a table of its readings, what each reaches, whether it shows the
-- paper's effect, and what it costs.
local claims = require "claims"
local paper = require "paper"
local results_of = require "lib.results"
local statistics = require "lib.statistics"
local tables = require "lib.tables"
local verdicts = require "lib.verdicts"

local readings = {}

local deepest = "hidden3"

-- ---- verdicts ----------------------------------------------------------------------------------------------------

local function pick(list, ids)
  local picked = {}
  for i, id in ipairs(ids) do
    for _, claim in ipairs(list) do
      picked[i] = claim.id == id and claim or picked[i]
    end
    assert(picked[i], id)
  end
  return picked
end

local function compared_with(claim, base)
  local copy = {}
  for key, value in pairs(claim) do
    copy[key] = value
  end
  copy.id, copy.base = claim.id .. "_than_" .. base, base
  return copy
end

local safe = pick(claims.table1, { "table1.one_layer_is_safe" })[1]
local collapses = pick(claims.table1, { "table1.hidden1.collapses", "table1.hidden2.collapses", "table1.hidden3.collapses" })
local fewer, higher = table.unpack(pick(claims.fig6, { "fig6.mlp.fewer_epochs", "fig6.mlp.higher" }))
local higher_than_greedy = compared_with(higher, "greedy")

-- {[row's name] = {[claim's id] = entry}}
local function judged(results, list)
  local found = {}
  for _, entry in ipairs(verdicts.judge(results, { claims = list, rows = {} })) do
    if entry.row then
      found[entry.row] = found[entry.row] or {}
      found[entry.row][entry.claim.id] = entry
    end
  end
  return found
end

-- All of them have to hold, so the worst decides: one that does not hold is enough.
local worst_first = { "not reproduced", "not measured", "underpowered", "within spread", "reproduced" }

local function joint_verdict(results, entries, list)
  local seen = {}
  for _, claim in ipairs(list) do
    local entry = entries[claim.id]
    local verdict = entry and entry.verdict or "not measured"
    seen[verdict] = seen[verdict] or (entry and entry.reason or "not run")
  end
  for _, verdict in ipairs(worst_first) do
    if seen[verdict] then
      return verdict .. (verdict == "not measured" and results:note(seen[verdict]) or "")
    end
  end
  return "-"
end

-- ---- cells -------------------------------------------------------------------------------------------------------

local function text(row, metric, digits)
  return row and row:text(metric, digits) or "-"
end

-- Mean of the differences seed by seed, with half of its 95 % interval where there are two.
local function difference(row, base, metric)
  local values, of_base = {}, base and base:by_seed(metric) or {}
  for seed, value in pairs(row:by_seed(metric)) do
    values[#values + 1] = of_base[seed] and value - of_base[seed]
  end
  local half = statistics.half_interval(values)
  return #values == 0 and "-" or row:traced(results_of.number_text(statistics.mean(values), "%+.2f")
    .. (half and (" ±%.2f"):format(half) or ""), metric, base)
end

local function verdict_text(results, entry)
  if not entry then
    return "-"
  elseif entry.reason then
    return entry.verdict .. results:note(entry.reason)
  end
  local row, base = table.unpack(entry.rows)
  return ("%s: %s"):format(row:traced(entry.measured, entry.claim.metric, base), verdicts.text(entry))
end

-- ---- the questions -----------------------------------------------------------------------------------------------

local function printed_row(list, title, key)
  local texts = { title }
  for hidden = 0, 3 do
    texts[#texts + 1] = ("%.1f"):format(paper.table1["hidden" .. hidden][key].value)
  end
  list:add(table.unpack(table.move({ "-", "-", "-", "-" }, 1, 4, #texts + 1, texts)))
end

local function collapse_row(results, list, group, name, title, entries)
  local texts, where, rows = { title }, {}, {}
  for _, model in ipairs(group.models) do
    texts[#texts + 1] = text(results:row(name, model), "accuracy")
  end
  for i, claim in ipairs(collapses) do
    local entry = entries and entries[claim.id]
    local mark = ({ reproduced = "", underpowered = entry and entry.inside and "?" or nil })[entry and entry.verdict]
    where[#where + 1] = mark and i .. mark or nil
    table.move(mark and entry.rows or {}, 1, mark and #entry.rows or 0, #rows + 1, rows)
  end
  texts[#texts + 1] = #where > 0 and rows[1]:traced(table.concat(where, ", "), "accuracy", table.unpack(rows, 2)) or "-"
  texts[#texts + 1] = entries and joint_verdict(results, entries, { safe, table.unpack(collapses) }) or "-"
  local row = results:row(name, deepest)
  list:add(table.unpack(table.move({ text(row, "time_per_epoch"), text(row, "memory") }, 1, 2, #texts + 1, texts)))
end

local function collapse_table(results, group)
  local list = tables.new { "Gradients", "0", "1", "2", "3", { title = "Collapses at", align = "left" },
    { title = "As in Table I", align = "left" }, "s/epoch", "MB" }
  local found = judged(results, { safe, table.unpack(collapses) })
  printed_row(list, "paper: FP32", "bp_fp32")
  printed_row(list, "paper: INT8", "bp_int8")
  for _, part in ipairs(group) do
    for _, reading in ipairs(part.rows) do
      local name = part.prefix .. reading[1]
      collapse_row(results, list, group, name, reading[2], found[name])
    end
  end
  return list
end

local function lookahead_table(results, part, model)
  local list = tables.new { part.title, "Test %", "Levels off at %", "In epoch",
    { title = "Epochs, against none", align = "left" }, { title = "Level, against none", align = "left" },
    { title = "Level, against unit after unit", align = "left" }, "s/epoch", "MB" }
  local found = judged(results, { fewer, higher, higher_than_greedy })
  for _, reading in ipairs(part.rows) do
    local name = part.prefix .. reading[1]
    local row, entries = results:row(name, model), found[name] or {}
    list:add(reading[2], text(row, "accuracy"), text(row, "plateau"), text(row, "epochs_to_plateau", "%.1f"),
      verdict_text(results, entries[fewer.id]), verdict_text(results, entries[higher.id]),
      verdict_text(results, entries[higher_than_greedy.id]), text(row, "time_per_epoch"), text(row, "memory"))
  end
  return list
end

local function others_table(results, group)
  local part, base = group[1], results:row(group.base, group.models[1])
  local list = tables.new { "FF-INT8", "Test %", "Against the default", "s/epoch", "MB" }
  list:add("default", text(base, "accuracy"), "-", text(base, "time_per_epoch"), text(base, "memory"))
  for _, reading in ipairs(part.rows) do
    local row = results:row(part.prefix .. reading[1], group.models[1])
    list:add(reading[2], text(row, "accuracy"), row and difference(row, base, "accuracy") or "-",
      text(row, "time_per_epoch"), text(row, "memory"))
  end
  return list
end

local function report_of(groups)
  return function(results)
    local blocks = {
      { heading = "Which readings make BP-INT8 collapse" }, collapse_table(results, groups.collapse),
      ("Test accuracy in per cent by the number of hidden layers, 500 neurons each; time and memory with three. Collapses: %d "
        .. "points below FP32 with the same optimiser; with a question mark where these seeds cannot tell. As in Table I: at "
        .. "every depth from one on, and at most %d points below without a hidden layer.")
        :format(-collapses[1].at_most, -safe.at_least),
      { heading = "Which look-ahead helps" },
    }
    for _, part in ipairs(groups.lookahead) do
      blocks[#blocks + 1] = lookahead_table(results, part, groups.lookahead.models[1])
    end
    blocks[#blocks + 1] = "Each look-ahead is compared seed by seed, on the validation split, with training all units at once "
      .. "without it, and with training unit after unit; the verdict is on what Figure 6 shows: fewer epochs, a higher level. "
      .. "A curve levels off at the mean of its last fifth, in the first epoch within a point of that."
    blocks[#blocks + 1] = { heading = "What the other readings of FF-INT8 do" }
    blocks[#blocks + 1] = others_table(results, groups.others)
    blocks[#blocks + 1] = "One option changed at a time, from preset tuned with scalar look-ahead; in points, mean of the "
      .. "differences seed by seed with half of its 95 % interval. The learning rate is that of the default: a reading that "
      .. "loses here may want another one."
    return blocks
  end
end

local function row_of(part, reading, models)
  local row = { part.algorithm, name = part.prefix .. reading[1], models = models, preset = part.preset,
    title = (part.title and part.title .. ": " or "") .. reading[2] }
  if part.preset then
    row.paper = reading[4] or false
  end
  for _, options in ipairs { part.options or {}, reading[3] or {} } do
    for option, value in pairs(options) do
      row[option] = value
    end
  end
  return row
end

-- groups: the questions collapse, lookahead and others, each with models and parts {algorithm =, prefix =, rows =}; a reading
-- is {name, title, options, the paper's row that it stands for}. Gives the rows of the experiment and its report.
function readings.plan(groups)
  local rows = {}
  for _, question in ipairs { "collapse", "lookahead", "others" } do
    for _, part in ipairs(groups[question]) do
      for _, reading in ipairs(part.rows) do
        rows[#rows + 1] = row_of(part, reading, groups[question].models)
      end
    end
  end
  return { rows = rows, report = report_of(groups) }
end

return readings
