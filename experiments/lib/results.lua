-- Records as rows of numbers: what a report function gets.
--
--   results.profile, results.title
--   results.models           list of {name =, title =, dataset =, profile =, rows = {...}} in the experiment's order; profile
--                            is the one that says how the model is trained; where they differ, the title names it
--   results:row(name, model) a row; the model may be left out where there is one
--   results:note(text)       its footnote mark, such as ¹
--   row.title, row.algorithm, row.cells (one per seed: config, record, file, reason)
--   row.asked                names of the metrics that were read: the .csv has them all
--   row:label()              its title with the mark of its footnote
--   row:record()             the first record at hand
--   row:numbers(metric)      the values at hand; row:mean(metric), row:spread(metric) (standard deviation)
--   row:text(metric)         "98.21 ±0.05", or "-" with the mark of a footnote that gives the reason
--   row:paper_value(metric)  {value =, place =} of the paper's number, or nil
--   row:seeds_text(metric)   how many seeds have it
--   row:traced(text, metric, ...) a number that the report made itself of this row's metric, with the way to its records,
--                            and to those of other rows that went into it
-- A metric is a name from results.metrics, one of lib.curves ("epochs_to_97.5"), or the path of a number in the record
-- ("time.evaluation_seconds").

local curves = require "lib.curves"
local statistics = require "lib.statistics"

local words = { inf = math.huge, ["-inf"] = -math.huge, nan = 0 / 0 }

local function at_path(record, path)
  local value = record
  for key in path:gmatch("[^.]+") do
    if type(value) ~= "table" then
      return nil
    end
    value = value[math.tointeger(tonumber(key)) or key]
  end
  return words[value] or value
end

local function scaled(path, factor)
  return function(record)
    local value = at_path(record, path)
    return type(value) == "number" and value * factor or nil
  end
end

local function no_energy(record)
  return at_path(record, "energy.reason")
end

-- What a reader must know beside a number: nil, or a footnote.
local function shared_machine(record)
  return at_path(record, "provenance.own_machine") == false
    and "other programs used more than 5 % of the machine meanwhile" or nil
end

local function throttled(record)
  local by = at_path(record, "provenance.conditions.throttled_by")
  return at_path(record, "provenance.throttled") == true
    and "the machine was throttled meanwhile" .. (by and (" (%s)"):format(by) or "") or nil
end

-- Joules belong to the time that the meter saw, so they are too low by the rest.
local function partly_seen(record)
  local coverage, bridged = at_path(record, "energy.coverage"), at_path(record, "energy.bridged") or 0
  if type(coverage) == "number" and coverage + bridged < 0.99 then
    return ("the meter saw only %.0f %% of the time, and the joules are of that"):format(100 * (coverage + bridged))
  end
end

-- Two ways to read the same power that do not say the same.
local function disputed(record)
  local ratio = at_path(record, "energy.second.ratio")
  if type(ratio) == "number" and math.abs(ratio - 1) > 0.05 then
    return ("another reader of the same power, %s, says %.2f times that"):format(
      tostring(at_path(record, "energy.second.source")), ratio)
  end
end

-- The first thing to say, of several.
local function first_of(...)
  local caveats = { ... }
  return function(record)
    for _, caveat in ipairs(caveats) do
      local text = caveat(record)
      if text then
        return text
      end
    end
  end
end

local function older_peak(record)
  return at_path(record, "memory.resident_peak_of_this_run") == false
    and "the peak of the whole process, which an earlier run may have set" or nil
end

local function shared_with_processor(record)
  return at_path(record, "memory.device.shared_with_processor") == true
    and "the processor's memory too: the same bytes are in the resident peak" or nil
end

local function diverged(record)
  if record.status ~= "diverged" then
    return nil
  end
  local place, seed = record.diverged or {}, at_path(record, "config.seed")
  local where = type(place.where) == "string" and place.where ~= "" and ", in " .. place.where or ""
  return ("seed %s diverged in epoch %s%s: the loss was no longer finite"):format(seed, place.epoch, where)
end

-- A number that depends on how much the run trained, for each of its epochs.
local function per_epoch(path)
  local whole = scaled(path, 1)
  return function(record)
    local value, epochs = whole(record), record.epochs and #record.epochs or 0
    return value and epochs > 0 and value / epochs or nil
  end
end

-- Of seconds and joules, which depend on who else used the machine.
local function caveat_of_cost(unit)
  local caveat = first_of(shared_machine, throttled)
  return unit == "J" and first_of(partly_seen, disputed, caveat) or caveat
end

local function cost(title, unit, read, why)
  return { title = title, unit = unit, read = read, why = why, caveat = caveat_of_cost(unit), wants_own_machine = true }
end

-- exact: the same for every seed, so that one run says all. wants_data: says nothing on synthetic data.
local metrics = {
  accuracy = {
    title = "test accuracy",
    unit = "%",
    read = scaled("accuracy.test", 1),
    caveat = diverged,
    wants_data = true,
  },
  validation = { title = "validation accuracy", unit = "%", read = scaled("accuracy.validation", 1), wants_data = true },
  time = cost("training time", "s", scaled("time.train_seconds", 1)),
  time_per_epoch = cost("training time per epoch", "s", per_epoch "time.train_seconds"),
  energy = cost("energy of training", "J", scaled("energy.joules", 1), no_energy),
  energy_per_epoch = cost("energy of training per epoch", "J", per_epoch "energy.joules", no_energy),
  step = cost("median step", "ms", scaled("time.step_median_seconds", 1e3)),
  epochs = {
    title = "epochs trained",
    unit = "epochs",
    read = function(record)
      return record.epochs and #record.epochs > 0 and #record.epochs or nil
    end,
  },
  memory = { title = "planned peak memory", unit = "MB", read = scaled("memory.peak_bytes", 1e-6), exact = true },
  parameters = { title = "parameters", unit = "million", read = scaled("model.parameters", 1e-6), exact = true },
  resident = {
    title = "peak resident memory",
    unit = "MB",
    read = scaled("memory.resident_peak_bytes", 1e-6),
    why = function(record)
      return at_path(record, "memory.resident_reason")
    end,
    caveat = older_peak,
  },
  cgroup = {
    title = "peak memory of the control group",
    unit = "MB",
    read = scaled("memory.cgroup_peak_bytes", 1e-6),
    why = function(record)
      return at_path(record, "memory.cgroup_reason")
    end,
  },
  device = {
    title = "peak memory of the device",
    unit = "MB",
    read = scaled("memory.device.used_peak_bytes", 1e-6),
    why = function()
      return "no GPU computed"
    end,
    caveat = shared_with_processor,
  },
}

-- Where the metrics come from that metrics does not list: functions from a name to a metric or nil.
local finders = {
  function(name)
    local metric = curves.metric(name, no_energy)
    if metric and metric.wants_own_machine then
      metric.caveat = caveat_of_cost(metric.unit)
    end
    return metric
  end,
}

-- Counts of operations and of bytes depend on no seed.
local function path_metric(name)
  local exact = name:find("^operations%.") or name:find("^memory%.peak") or nil
  return { title = name, unit = "", read = scaled(name, 1), exact = exact }
end

local function metric_of(name)
  local metric = metrics[name]
  for _, find in ipairs(finders) do
    metric = metric or find(name)
  end
  return metric or path_metric(name)
end

-- What a record says of its data, in words.
local function data_kind(data)
  return data.synthetic and "synthetic" or data.official and "official files" or "not the official files"
end

-- Why a stranger cannot tell where a record's numbers come from: texts, of most records none.
local function doubts(record)
  local list, data = {}, record.dataset
  local commit = at_path(record, "provenance.commit") or "unknown"
  if commit == "unknown" then
    list[1] = "made by a program of unknown commit"
  elseif at_path(record, "provenance.dirty") == true then
    list[1] = ("made by a program with uncommitted changes to %s"):format(tostring(commit):sub(1, 12))
  end
  if data and not data.synthetic and not data.official then
    list[#list + 1] = ("made with data that are not the published %s (SHA-256 %s)"):format(data.name,
      tostring(data.sha256 or "unknown"):sub(1, 12))
  end
  return list
end

-- The same of the records of several cells, each text once.
local function doubts_of(cells)
  local texts, seen = {}, {}
  for _, cell in ipairs(cells) do
    for _, text in ipairs(cell.record and doubts(cell.record) or {}) do
      texts[#texts + 1] = not seen[text] and text or nil
      seen[text] = true
    end
  end
  return texts
end

-- ---- one row -----------------------------------------------------------------------------------------------------

local row_methods = {}
row_methods.__index = row_methods

local function ask(row, name)
  row.asked[#row.asked + 1] = not row.asked[name] and name or nil
  row.asked[name] = true
end

-- The cells whose record has the metric, and what it is there.
function row_methods:cells_with(name)
  local metric, cells, values = metric_of(name), {}, {}
  for _, cell in ipairs(self.cells) do
    local value = cell.record and metric.read(cell.record)
    if value then
      cells[#cells + 1], values[#values + 1] = cell, value
    end
  end
  return cells, values
end

function row_methods:numbers(name)
  ask(self, name)
  local _, values = self:cells_with(name)
  return values
end

function row_methods:by_seed(name)
  ask(self, name)
  local by_seed = {}
  local cells, values = self:cells_with(name)
  for i, cell in ipairs(cells) do
    by_seed[cell.config.seed] = values[i]
  end
  return by_seed
end

function row_methods:label()
  return self.title .. (self.note and self.results:note(self.note) or "")
end

-- The first record at hand, or nil.
function row_methods:record()
  for _, cell in ipairs(self.cells) do
    if cell.record then
      return cell.record
    end
  end
  return nil
end

function row_methods:mean(name)
  return statistics.mean(self:numbers(name))
end

function row_methods:spread(name)
  return statistics.deviation(self:numbers(name))
end

local function why_missing(cell, metric)
  if not cell.record then
    return cell.reason or "not run"
  end
  return metric.why and metric.why(cell.record) or diverged(cell.record) or "not in the record"
end

-- Why the number is missing, for some seeds or for all; nil where every seed has one.
function row_methods:gap(name)
  local metric, reasons, order, missing = metric_of(name), {}, {}, 0
  for _, cell in ipairs(self.cells) do
    if not (cell.record and metric.read(cell.record)) then
      local why = why_missing(cell, metric)
      missing = missing + 1
      if not reasons[why] then
        reasons[why] = {}
        order[#order + 1] = why
      end
      table.insert(reasons[why], tostring(cell.config.seed))
    end
  end
  if missing == 0 then
    return nil
  end
  if missing == #self.cells and #order == 1 then
    return order[1]
  end
  local parts = {}
  for i, why in ipairs(order) do
    parts[i] = ("seed%s %s: %s"):format(#reasons[why] > 1 and "s" or "", table.concat(reasons[why], ", "), why)
  end
  return table.concat(parts, "; ")
end

local function digits_of(value)
  local size = math.abs(value)
  return size < 10 and "%.2f" or size < 10000 and "%.1f" or "%.0f"
end

local function number_text(value, digits)
  if value ~= value then
    return "nan"
  elseif math.abs(value) == math.huge then
    return value > 0 and "∞" or "-∞"
  end
  local text = digits:format(value)
  return tonumber(text) == 0 and text:gsub("^%-", "+"):gsub("^%+", digits:find("+", 1, true) and "+" or "") or text
end

-- Behind a number, where a page is made that links to records: \u{E000}, an index of results.traces, \u{E001}.
local trace_mark = "\u{E000}(%d+)\u{E001}"

-- The text, and how to find the records that have the metric; behind it other rows that went into it.
function row_methods:traced(text, name, ...)
  local traces, files = self.results.traces, {}
  for _, row in ipairs(traces and text ~= "-" and { self, ... } or {}) do
    for _, cell in ipairs(row:cells_with(name)) do
      files[#files + 1] = cell.file
    end
  end
  if #files == 0 then
    return text
  end
  traces[#traces + 1] = files
  return ("%s\u{E000}%d\u{E001}"):format(text, #traces)
end

-- The mean, with the spread where it shows at that many digits.
function row_methods:plain(name, digits)
  local mean, spread = self:mean(name), self:spread(name)
  if not mean then
    return "-"
  end
  digits = digits or (metric_of(name).unit == "%" and "%.2f") or digits_of(mean)
  local text = number_text(mean, digits)
  local around = spread and number_text(spread, digits)
  return self:traced(around and (tonumber(around) or 0) ~= 0 and text .. " ±" .. around or text, name)
end

function row_methods:text(name, digits)
  local gap, metric, seen = self:gap(name), metric_of(name), {}
  local marks = gap and { self.results:note(gap) } or {}
  for _, cell in ipairs(metric.caveat and self:cells_with(name) or {}) do
    local caveat = metric.caveat(cell.record)
    if caveat and not seen[caveat] then
      seen[caveat] = true
      marks[#marks + 1] = self.results:note(caveat)
    end
  end
  return self:plain(name, digits) .. table.concat(marks, ",")
end

function row_methods:seeds_text(name)
  local count = #self:numbers(name)
  return self:traced(count > 0 and tostring(count) or "-", name)
end

function row_methods:paper_value(name)
  local model = self.results.paper[self.model.name] or self.results.paper[self.model.model]
  local values = self.paper and model and model[self.paper]
  return values and values[name] or nil
end

function row_methods:paper_text(name, digits)
  local paper = self:paper_value(name)
  return paper and (digits or "%.1f"):format(paper.value) or "-"
end

-- ---- all rows ----------------------------------------------------------------------------------------------------

local methods = {}
methods.__index = methods

local superscripts = { ["0"] = "⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹" }

function methods:note(text)
  if not self.marks[text] then
    self.notes[#self.notes + 1] = text
    local mark = ""
    for digit in tostring(#self.notes):gmatch(".") do
      mark = mark .. superscripts[tonumber(digit) > 0 and tonumber(digit) or digit]
    end
    self.marks[text] = mark
  end
  return self.marks[text]
end

-- Footnote marks for what is doubtful of the records with these file names.
function methods:doubt_marks(files)
  local named, cells, marks = {}, {}, {}
  for _, file in ipairs(files) do
    named[file] = true
  end
  for _, row in ipairs(self:all_rows()) do
    for _, cell in ipairs(row.cells) do
      cells[#cells + 1] = named[cell.file] and cell or nil
    end
  end
  for i, text in ipairs(doubts_of(cells)) do
    marks[i] = self:note(text)
  end
  return table.concat(marks, ",")
end

function methods:row(name, model_name)
  for _, model in ipairs(self.models) do
    if not model_name or model.name == model_name then
      for _, row in ipairs(model.rows) do
        if row.name == name then
          return row
        end
      end
    end
  end
  return nil
end

function methods:all_rows()
  local rows = {}
  for _, model in ipairs(self.models) do
    table.move(model.rows, 1, #model.rows, #rows + 1, rows)
  end
  return rows
end

-- The profiles that say how the models are trained, or those of these rows.
function methods:profiles(rows)
  local seen, names = {}, {}
  for _, row in ipairs(rows or self:all_rows()) do
    names[#names + 1] = not seen[row.model.profile] and row.model.profile or nil
    seen[row.model.profile] = true
  end
  return names
end

-- "profile quick", or each with its networks: "profile paper (MLP), profile quick (ResNet-18)".
function methods:profile_text(rows)
  local names, parts = self:profiles(rows), {}
  for i, name in ipairs(names) do
    local titles = {}
    for _, model in ipairs(#names > 1 and self.models or {}) do
      titles[#titles + 1] = model.profile == name and model.plain_title or nil
    end
    parts[i] = "profile " .. name .. (#titles > 0 and (" (%s)"):format(table.concat(titles, ", ")) or "")
  end
  return #parts > 0 and table.concat(parts, ", ") or "profile " .. self.profile
end

-- read(cell) for every cell, of these rows or of all; the values that differ, sorted.
function methods:distinct(read, rows)
  local seen, values = {}, {}
  for _, row in ipairs(rows or self:all_rows()) do
    for _, cell in ipairs(row.cells) do
      local value = read(cell)
      if value and not seen[value] then
        seen[value] = true
        values[#values + 1] = value
      end
    end
  end
  table.sort(values)
  return values
end

local function new_row(results, model, row, plan, input)
  local made = setmetatable({
    results = results, model = model, name = row.name, title = row.title, algorithm = row.algorithm, note = row.note,
    paper = row.paper, cells = {}, asked = {},
  }, row_methods)
  for i, cell in ipairs(plan.cells) do
    if cell.model == model.name and cell.row == row.name and cell.selected then
      local found = input.cells and input.cells[i] or {}
      cell.record, cell.file, cell.reason = found.record or nil, found.file, found.reason
      cell.planned_dataset = cell.planned_dataset or cell.config.dataset
      cell.config.dataset = found.dataset or cell.config.dataset
      made.cells[#made.cells + 1] = cell
    end
  end
  return made
end

-- ---- one meter for a table ----------------------------------------------------------------------------------------

local function meter_of(record)
  local energy = record and record.energy or {}
  return type(energy.joules) == "number" and energy.source and ("%s (%s)"):format(energy.source, energy.rail) or nil
end

-- The meter that most records have; the first of those where several do.
local function usual_meter(rows)
  local counts, usual = {}, nil
  for _, row in ipairs(rows) do
    for _, cell in ipairs(row.cells) do
      local meter = meter_of(cell.record)
      if meter then
        counts[meter] = (counts[meter] or 0) + 1
        usual = (not usual or counts[meter] > counts[usual]) and meter or usual
      end
    end
  end
  return usual
end

-- Joules of a module and of a processor do not belong into one column: those of another meter are left out, with the reason.
local function leave_out_other_meters(rows)
  local usual = usual_meter(rows)
  for _, row in ipairs(rows) do
    for _, cell in ipairs(row.cells) do
      local meter = meter_of(cell.record)
      if meter and meter ~= usual then
        cell.record.energy = { reason = ("measured by %s, the others by %s: not comparable"):format(meter, usual) }
        for _, epoch in ipairs(cell.record.epochs or {}) do
          epoch.joules = nil
        end
      end
    end
  end
end

local results = { metrics = metrics, metric = metric_of, finders = finders,
  at_path = at_path, data_kind = data_kind, doubts_of = doubts_of, number_text = number_text, digits_of = digits_of,
  trace_mark = trace_mark }

-- plan: from lib.experiment; input.cells: what the program found for each cell of the plan; traces: whether numbers carry
-- the way to their records.
function results.new(plan, input, traces)
  local made = setmetatable({
    name = plan.name, title = plan.title, profile = input.profile, paper = plan.paper, models = {}, notes = {}, marks = {},
    traces = traces and {} or nil,
  }, methods)
  for _, model in ipairs(plan.models) do
    local entry = { name = model.name, model = model.model, title = model.title, dataset = model.dataset,
      profile = model.profile, rows = {} }
    for _, row in ipairs(plan.rows) do
      local new = new_row(made, entry, row, plan, input)
      if #new.cells > 0 then
        entry.rows[#entry.rows + 1] = new
      end
    end
    leave_out_other_meters(entry.rows)
    if #entry.rows > 0 then
      made.models[#made.models + 1] = entry
    end
  end
  for _, model in ipairs(#made:profiles() > 1 and made.models or {}) do
    model.plain_title, model.title = model.title, ("%s (profile %s)"):format(model.title, model.profile)
  end
  return made
end

return results
