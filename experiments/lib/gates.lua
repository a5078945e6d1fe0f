-- Gates: what decides the exit status of `ffbench check`.
--
-- A gate is {row = or rows =, model =, dataset =, metric =, at_least =, at_most =}, {row =, finishes = true} (with
-- may_diverge = true a run that diverged counts as finished: it is a result) or {claim =}, with row or rows for some of the
-- rows that it is about. A gate on a claim passes where the claim is reproduced or within spread; where too few seeds were
-- run to tell, its mean decides.

local results_of = require "lib.results"
local verdicts = require "lib.verdicts"

local gates = {}

-- ---- reading -----------------------------------------------------------------------------------------------------

local gate_keys = {
  row = "string", rows = "table", model = "string", dataset = "string", metric = "string", at_least = "number",
  at_most = "number", finishes = "boolean", may_diverge = "boolean", claim = "string",
}

local function check_gate(gate, plan, path, refuse)
  if type(gate) ~= "table" then
    refuse(path, "a gate is a table, not a %s", type(gate))
  end
  verdicts.check_fields(gate, gate_keys, path, refuse)
  local rows, claims = {}, {}
  for _, row in ipairs(plan.rows) do
    rows[row.name] = true
  end
  for _, claim in ipairs(plan.claims) do
    claims[claim.id] = claim
  end
  for _, name in ipairs(gate.rows or { gate.row }) do
    if not rows[name] then
      refuse(path, 'this experiment has no row "%s"', tostring(name))
    end
  end
  if gate.claim and not claims[gate.claim] then
    refuse(path, 'this experiment has no claim "%s"', gate.claim)
  elseif gate.claim and (claims[gate.claim].evidence or claims[gate.claim].why) then
    refuse(path, 'claim "%s" is judged by no measurement, so it can be no gate', gate.claim)
  end
  local judges = gate.finishes or (gate.metric and (gate.at_least or gate.at_most))
  if not gate.claim and not ((gate.row or gate.rows) and judges) then
    refuse(path, "a gate needs row and metric with at_least or at_most, or row and finishes = true, or claim")
  end
end

function gates.read(lists, plan, refuse)
  for profile, list in pairs(lists) do
    if not plan.profiles[profile] then
      refuse({ "gates", profile }, 'gates for a profile "%s", which this experiment does not have', tostring(profile))
    end
    for i, gate in ipairs(list) do
      check_gate(gate, plan, { "gates", profile, i }, refuse)
    end
  end
  return lists
end

-- ---- judging -----------------------------------------------------------------------------------------------------

local function bound_text(gate)
  local unit = results_of.metric(gate.metric).unit
  local parts = {}
  local function add(what, bound)
    parts[#parts + 1] = bound and ("%s %.10g%s"):format(what, bound, unit ~= "" and " " .. unit or "") or nil
  end
  add("at least", gate.at_least)
  add("at most", gate.at_most)
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
    entry.wanted = ("%s %s"):format(results_of.metric(gate.metric).title, bound_text(gate))
    entry.found = gap or row:plain(gate.metric)
    ok = mean and not gap and mean >= (gate.at_least or -math.huge) and mean <= (gate.at_most or math.huge)
  end
  entry.status = ok and "passed" or "failed"
  return entry
end

local function names_row(gate, name)
  for _, wanted in ipairs(gate.rows or { gate.row }) do
    if wanted == name then
      return true
    end
  end
  return not (gate.rows or gate.row)
end

local function gate_claim(gate, judged, profile)
  local entries = {}
  for _, entry in ipairs(judged) do
    local here = not entry.rows[1] or entry.rows[1].model.profile == profile
    if here and entry.claim.id == gate.claim and (not entry.row or names_row(gate, entry.row)) then
      local by_mean = entry.verdict == "underpowered" and entry.inside
      local found = entry.reason or ("%s (%s)"):format(entry.measured, verdicts.text(entry))
      entries[#entries + 1] = { subject = entry.text, wanted = entry.expected, found = found,
        status = (verdicts.passing[entry.verdict] or by_mean) and "passed" or entry.obstacle and "skipped" or "failed" }
    end
  end
  return entries
end

local function gate_rows(gate, results, profile)
  local entries = {}
  for _, name in ipairs(gate.rows or { gate.row }) do
    for _, model in ipairs(results.models) do
      local named = model.profile == profile and (not gate.model or gate.model == model.name)
      local row = named and results:row(name, model.name)
      entries[#entries + 1] = row and gate_row(gate, row) or nil
    end
  end
  return entries
end

-- Each model is held to the gates of the profile that it is trained as.
-- list of {subject =, wanted =, found =, status = passed | failed | skipped}, and how many failed. judged: of verdicts.judge.
function gates.judge(results, plan, judged)
  local entries, failed = {}, 0
  for _, profile in ipairs(results:profiles()) do
    for _, gate in ipairs(plan.gates[profile] or {}) do
      local found = gate.claim and gate_claim(gate, judged, profile) or gate_rows(gate, results, profile)
      for _, entry in ipairs(found) do
        entries[#entries + 1] = entry
        failed = failed + (entry.status == "failed" and 1 or 0)
      end
    end
  end
  return entries, failed
end

return gates
