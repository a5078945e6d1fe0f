-- Claims of the paper, each with a verdict, and gates, which decide the exit status of `ffbench check`.
--
-- A claim is data:
--   id, text, place        its name, what is claimed in our words ({row}: our row's title), where the paper says so
--   kind                   value | difference (row - base) | change (row against base, %) | order | contradiction |
--                          average (mean over `models` of a change)
--   model, row, base       names from the paper's tables (a row of ours stands for the paper's row that it names)
--   metric                 as in lib.results
--   paper, tolerance       the number, and for each profile how far off still counts (a profile left out: not judged);
--   at_most, at_least      or a bound in place of both
--   rows                   order: from the smallest to the largest
--   machine                only judged on a machine of that name
--   profiles               only judged in these
--   evidence               contradiction: the arithmetic
-- and a gate is {row = or rows =, model =, dataset =, metric =, at_least =, at_most =}, {row =, finishes = true} (with
-- may_diverge = true a run that diverged counts as finished: it is a result) or {claim =}.

local results_of = require "lib.results"
local statistics = require "lib.statistics"

local verdicts = {}

-- ---- reading -----------------------------------------------------------------------------------------------------

local claim_keys = {
  id = "string", text = "string", place = "string", kind = "string", model = "string", row = "string", base = "string",
  metric = "string", paper = "number", tolerance = "table", at_most = "number", at_least = "number", rows = "table",
  models = "table", machine = "string", profiles = "table", evidence = "string",
}

local kinds = {
  value = { "model", "row", "metric" },
  difference = { "model", "row", "base", "metric" },
  change = { "model", "row", "base", "metric" },
  order = { "model", "rows", "metric" },
  average = { "models", "row", "base", "metric" },
  contradiction = { "evidence" },
}

local function check_fields(item, keys, path, refuse)
  for key, value in pairs(item) do
    if not keys[key] then
      refuse(path, 'unknown key "%s" in %s[%s]', tostring(key), path[1], tostring(path[#path]))
    elseif type(value) ~= keys[key] then
      refuse(path, "%s of %s[%s] must be a %s, not a %s", key, path[1], tostring(path[#path]), keys[key], type(value))
    end
  end
end

local function check_claim(claim, path, refuse)
  if type(claim) ~= "table" then
    refuse(path, "a claim is a table, not a %s", type(claim))
  end
  check_fields(claim, claim_keys, path, refuse)
  local needed = kinds[claim.kind]
  if not needed then
    refuse(path, 'claim "%s" is of unknown kind "%s"', tostring(claim.id), tostring(claim.kind))
  end
  for _, key in ipairs { "id", "text", "place", table.unpack(needed) } do
    if claim[key] == nil then
      refuse(path, 'claim "%s" has no %s', tostring(claim.id), key)
    end
  end
  local bound = claim.at_most or claim.at_least
  if claim.kind ~= "order" and claim.kind ~= "contradiction" and not bound and not (claim.paper and claim.tolerance) then
    refuse(path, 'claim "%s" needs paper and tolerance, or at_most or at_least', claim.id)
  end
end

function verdicts.read_claims(claims, refuse)
  local seen = {}
  for i, claim in ipairs(claims) do
    check_claim(claim, { "claims", i }, refuse)
    if seen[claim.id] then
      refuse({ "claims", i }, 'two claims are called "%s"', claim.id)
    end
    seen[claim.id] = true
  end
  return claims
end

local gate_keys = {
  row = "string", rows = "table", model = "string", dataset = "string", metric = "string", at_least = "number",
  at_most = "number", finishes = "boolean", may_diverge = "boolean", claim = "string",
}

local function check_gate(gate, plan, path, refuse)
  if type(gate) ~= "table" then
    refuse(path, "a gate is a table, not a %s", type(gate))
  end
  check_fields(gate, gate_keys, path, refuse)
  local rows, claims = {}, {}
  for _, row in ipairs(plan.rows) do
    rows[row.name] = true
  end
  for _, claim in ipairs(plan.claims) do
    claims[claim.id] = true
  end
  for _, name in ipairs(gate.rows or { gate.row }) do
    if not rows[name] then
      refuse(path, 'this experiment has no row "%s"', tostring(name))
    end
  end
  if gate.claim and not claims[gate.claim] then
    refuse(path, 'this experiment has no claim "%s"', gate.claim)
  end
  local judges = gate.finishes or (gate.metric and (gate.at_least or gate.at_most))
  if not gate.claim and not ((gate.row or gate.rows) and judges) then
    refuse(path, "a gate needs row and metric with at_least or at_most, or row and finishes = true, or claim")
  end
end

function verdicts.read_gates(gates, plan, refuse)
  for profile, list in pairs(gates) do
    if not plan.profiles[profile] then
      refuse({ "gates", profile }, 'gates for a profile "%s", which this experiment does not have', tostring(profile))
    end
    for i, gate in ipairs(list) do
      check_gate(gate, plan, { "gates", profile, i }, refuse)
    end
  end
  return gates
end

-- ---- measuring ---------------------------------------------------------------------------------------------------

-- Rows of ours that stand for a row of the paper.
local function rows_for(results, model_name, paper_name)
  local found = {}
  for _, model in ipairs(results.models) do
    if model.name == model_name or model.model == model_name then
      for _, row in ipairs(model.rows) do
        if row.paper == paper_name then
          found[#found + 1] = row
        end
      end
    end
  end
  return found
end

local function difference(value, base)
  return value - base
end

local function change(value, base)
  return base ~= 0 and 100 * (value / base - 1) or nil
end

-- Pairs of runs with the same seed, so that what a seed does to both cancels.
local function paired(row, base, metric, combine)
  local values, of_base, of_row = {}, base:by_seed(metric), row:by_seed(metric)
  for _, cell in ipairs(row.cells) do
    local seed = cell.config.seed
    if of_row[seed] and of_base[seed] then
      values[#values + 1] = combine(of_row[seed], of_base[seed])
    end
  end
  return values
end

local function synthetic(row)
  for _, cell in ipairs(row.cells) do
    if cell.planned_dataset ~= cell.config.dataset then
      return ("%s stands in for %s"):format(cell.config.dataset, cell.planned_dataset)
    end
  end
  return nil
end

local function other_machine(row, name)
  for _, cell in ipairs(row.cells) do
    local machine = cell.record and results_of.at_path(cell.record, "provenance.machine.processor")
    if type(machine) ~= "string" or not machine:find(name, 1, true) then
      return true
    end
  end
  return false
end

local function shared_machine(row)
  for _, cell in ipairs(row.cells) do
    if cell.record and results_of.at_path(cell.record, "provenance.own_machine") == false then
      return true
    end
  end
  return false
end

local function judged_in(claim, profile)
  if claim.paper and claim.tolerance then
    return claim.tolerance[profile] ~= nil
  end
  for _, name in ipairs(claim.profiles or {}) do
    if name == profile then
      return true
    end
  end
  return claim.profiles == nil
end

-- Why a claim cannot be judged with this row, or nil.
local function obstacle(claim, row, results)
  if claim.machine and other_machine(row, claim.machine) then
    return ("seconds and joules compare only on the paper's board, %s; their changes are judged"):format(claim.machine)
  end
  local metric = results_of.metrics[claim.metric]
  if metric and metric.wants_data and synthetic(row) then
    return synthetic(row)
  end
  if not judged_in(claim, results.profile) then
    return ("profile %s is too small to judge by"):format(results.profile)
  end
  return metric and metric.wants_own_machine and shared_machine(row) and "other programs used the machine meanwhile" or nil
end

local function measure(claim, row, results)
  if claim.kind == "value" then
    return row:numbers(claim.metric), row:gap(claim.metric)
  end
  local base = rows_for(results, claim.model, claim.base)[1]
  if not base then
    return {}, "the experiment has no such row to compare with"
  end
  local values = paired(row, base, claim.metric, claim.kind == "change" and change or difference)
  return values, row:gap(claim.metric) or base:gap(claim.metric)
end

-- ---- judging -----------------------------------------------------------------------------------------------------

local function range_of(claim, profile)
  if claim.tolerance and claim.paper then
    return claim.paper - claim.tolerance[profile], claim.paper + claim.tolerance[profile]
  end
  return claim.at_least or -math.huge, claim.at_most or math.huge
end

local function judge_numbers(claim, values, profile)
  local mean, half = statistics.mean(values), statistics.half_interval(values)
  local low, high = range_of(claim, profile)
  if mean >= low and mean <= high then
    return "reproduced"
  elseif half and mean + half >= low and mean - half <= high then
    return "within spread"
  end
  return "not reproduced"
end

local units = { difference = "points", change = "%", average = "%" }

local function number_with_unit(claim, value, interval)
  local unit = units[claim.kind] or (results_of.metrics[claim.metric] or { unit = "" }).unit
  local digits = units[claim.kind] == "%" and "%+.1f" or claim.kind == "difference" and "%+.2f" or results_of.digits_of(value)
  return results_of.number_text(value, digits) .. (interval or "") .. (unit ~= "" and " " .. unit or "")
end

-- The mean with the 95 % interval over seeds.
local function measured_text(claim, values)
  local half = statistics.half_interval(values)
  local shown = half and results_of.number_text(half, half < 10 and "%.2f" or "%.1f")
  return number_with_unit(claim, statistics.mean(values), shown and tonumber(shown) ~= 0 and " ±" .. shown)
end

local function expected_text(claim)
  if claim.paper then
    return number_with_unit(claim, claim.paper)
  elseif claim.at_most then
    return "≤ " .. number_with_unit(claim, claim.at_most)
  end
  return "≥ " .. number_with_unit(claim, claim.at_least)
end

local function text_for(claim, row)
  local title = row.title:gsub("%%", "%%%%")
  return (claim.text:gsub("{row}", title))
end

local function new_entry(claim, row)
  return { claim = claim, text = text_for(claim, row), network = row.model.title, expected = expected_text(claim),
    measured = "-" }
end

local function give_verdict(entry, values, reason, results)
  local claim = entry.claim
  if #values > 0 then
    entry.measured = measured_text(claim, values)
  end
  if reason then
    entry.verdict, entry.reason = "not measured", reason
  else
    entry.verdict = judge_numbers(claim, values, results.profile)
  end
  return entry
end

local function judge_row(claim, row, results)
  local entry = new_entry(claim, row)
  local values, gap = measure(claim, row, results)
  entry.obstacle = obstacle(claim, row, results)
  return give_verdict(entry, values, entry.obstacle or (#values == 0 and (gap or "not run")) or nil, results)
end

-- One value: the mean over the networks, of each its mean over seeds.
local function judge_average(claim, first, results)
  local entry = new_entry(claim, first)
  entry.network = nil
  local means, reason = {}, nil
  for _, model in ipairs(claim.models) do
    local row
    for _, candidate in ipairs(rows_for(results, model, claim.row)) do
      row = candidate.name == first.name and candidate or row
    end
    local values, gap = {}, "the experiment has no such row"
    if row then
      local change_here = { kind = "change", model = model, base = claim.base, metric = claim.metric }
      values, gap = measure(change_here, row, results)
      entry.obstacle = entry.obstacle or obstacle(claim, row, results)
    end
    means[#means + 1] = statistics.mean(values)
    reason = reason or #values == 0 and (gap or "not run") or nil
  end
  return give_verdict(entry, reason and {} or { statistics.mean(means) }, entry.obstacle or reason, results)
end

-- "a < b = c", and whether every step up is as claimed.
local function order_text(rows, metric)
  local text = rows[1].title
  for i = 2, #rows do
    text = text .. (rows[i]:mean(metric) == rows[i - 1]:mean(metric) and " = " or " < ") .. rows[i].title
  end
  return text
end

local function judge_steps(rows, metric)
  local verdict = "reproduced"
  for i = 2, #rows do
    local steps = paired(rows[i], rows[i - 1], metric, difference)
    local mean, half = statistics.mean(steps) or 0, statistics.half_interval(steps) or 0
    if mean <= 0 and mean + half <= 0 then
      return "not reproduced"
    elseif mean <= 0 then
      verdict = "within spread"
    end
  end
  return verdict
end

local function judge_order(claim, results)
  local entry = { claim = claim, text = claim.text, expected = "", measured = "-" }
  local rows, titles, standing = {}, {}, {}
  for i, name in ipairs(claim.rows) do
    local row = rows_for(results, claim.model, name)[1]
    titles[i] = row and row.title or name
    entry.network = row and row.model.title or entry.network
    rows[#rows + 1] = row
    if row then
      standing[row] = i
      entry.obstacle = entry.obstacle or obstacle(claim, row, results)
    end
    if not row or not row:mean(claim.metric) then
      entry.reason = entry.reason or (row and row:gap(claim.metric)) or "the experiment has no row " .. name
    end
  end
  entry.expected = table.concat(titles, " < ")
  entry.reason = entry.obstacle or entry.reason
  entry.verdict = entry.reason and "not measured"
  if not entry.verdict then
    entry.verdict = judge_steps(rows, claim.metric)
    table.sort(rows, function(a, b)
      local mean_a, mean_b = a:mean(claim.metric), b:mean(claim.metric)
      return mean_a < mean_b or (mean_a == mean_b and standing[a] < standing[b])
    end)
    entry.measured = order_text(rows, claim.metric)
  end
  return entry
end

local function judge(claim, results)
  if claim.kind == "contradiction" then
    return { { claim = claim, text = claim.text, expected = "", measured = "-", verdict = "the paper contradicts itself",
      reason = claim.evidence } }
  elseif claim.kind == "order" then
    return { judge_order(claim, results) }
  end
  local entries = {}
  if claim.kind == "average" then
    for _, row in ipairs(rows_for(results, claim.models[1], claim.row)) do
      entries[#entries + 1] = judge_average(claim, row, results)
    end
    return entries
  end
  for _, row in ipairs(rows_for(results, claim.model, claim.row)) do
    entries[#entries + 1] = judge_row(claim, row, results)
  end
  return entries
end

-- list of {claim =, text =, network =, expected =, measured =, verdict =, reason =}; claims on models that the experiment
-- does not train are left out.
function verdicts.judge(results, plan)
  local trained, entries = {}, {}
  for _, model in ipairs(results.models) do
    trained[model.name] = true
    trained[model.model] = true
  end
  local function is_trained(claim)
    for _, model in ipairs(claim.models or { claim.model }) do
      if not trained[model] then
        return false
      end
    end
    return true
  end
  for _, claim in ipairs(plan.claims) do
    if is_trained(claim) then
      for _, entry in ipairs(judge(claim, results)) do
        entries[#entries + 1] = entry
      end
    end
  end
  return entries
end

-- ---- gates -------------------------------------------------------------------------------------------------------

local function bound_text(gate)
  local unit = (results_of.metrics[gate.metric] or { unit = "" }).unit
  local parts = {}
  if gate.at_least then
    parts[#parts + 1] = ("at least %g %s"):format(gate.at_least, unit)
  end
  if gate.at_most then
    parts[#parts + 1] = ("at most %g %s"):format(gate.at_most, unit)
  end
  return table.concat(parts, " and ")
end

local function gate_finishes(gate, row)
  local found = "done"
  for _, cell in ipairs(row.cells) do
    local status = cell.record and cell.record.status
    local diverged = gate.may_diverge and status == "diverged"
    if status ~= "done" and not diverged then
      return false, status or cell.reason or "not run"
    end
    found = diverged and status or found
  end
  return true, found
end

local function gate_row(gate, row)
  local entry = { subject = (#row.results.models > 1 and row.model.title .. ", " or "") .. row.title }
  if gate.dataset and row.cells[1].config.dataset ~= gate.dataset then
    entry.wanted, entry.status, entry.found = "on " .. gate.dataset, "skipped", "ran on " .. row.cells[1].config.dataset
    return entry
  end
  local ok
  if gate.finishes then
    entry.wanted = gate.may_diverge and "every run finishes or diverges" or "every run finishes"
    ok, entry.found = gate_finishes(gate, row)
  else
    local mean, gap = row:mean(gate.metric), row:gap(gate.metric)
    entry.wanted = ("%s %s"):format((results_of.metrics[gate.metric] or { title = gate.metric }).title, bound_text(gate))
    entry.found = gap or row:plain(gate.metric)
    ok = mean and not gap and mean >= (gate.at_least or -math.huge) and mean <= (gate.at_most or math.huge)
  end
  entry.status = ok and "passed" or "failed"
  return entry
end

local function gate_claim(gate, judged)
  local entries = {}
  for _, entry in ipairs(judged) do
    if entry.claim.id == gate.claim then
      local ok = entry.verdict == "reproduced" or entry.verdict == "within spread"
      entries[#entries + 1] = { subject = entry.text, wanted = entry.expected, found = entry.reason or entry.measured,
        status = ok and "passed" or entry.obstacle and "skipped" or "failed" }
    end
  end
  return entries
end

-- list of {subject =, wanted =, found =, status = passed | failed | skipped}, and how many failed.
function verdicts.gates(results, plan)
  local entries, failed = {}, 0
  local judged = verdicts.judge(results, plan)
  for _, gate in ipairs(plan.gates[results.profile] or {}) do
    for _, entry in ipairs(gate.claim and gate_claim(gate, judged) or {}) do
      entries[#entries + 1] = entry
    end
    for _, name in ipairs(gate.rows or { gate.row }) do
      for _, model in ipairs(results.models) do
        local row = (not gate.model or gate.model == model.name) and results:row(name, model.name)
        if row then
          entries[#entries + 1] = gate_row(gate, row)
        end
      end
    end
  end
  for _, entry in ipairs(entries) do
    failed = failed + (entry.status == "failed" and 1 or 0)
  end
  return entries, failed
end

return verdicts
