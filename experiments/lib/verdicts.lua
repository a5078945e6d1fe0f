-- Claims of the paper, each with a verdict. docs/claims.md says what a verdict means and how it is found.
--
-- A claim is data:
--   id, text, place        its name, what is claimed in our words ({row}: our row's title), where the paper says so
--   kind                   value | difference (row - base) | change (row against base, %) | share (row of base, %) | order |
--                          average (over `models`, of a change or a difference) | contradiction | unmeasured
--   model, row, base       names from the paper's tables: a row of ours stands for the paper's row that it names, or has that
--                          name itself
--   base_model             the base's network where it is another one; base is then left out where it is the same row
--   metric                 as in lib.results
--   paper, tolerance       the number, and for each profile how far off still counts (a profile left out: not judged);
--   at_most, at_least      or a bound or two in place of both
--   resolution             of a bound: half the interval that is narrow enough to judge by (without: the interval must keep
--                          clear of the bound); of an order the same in per cent of the smaller number
--   rows, or row + models  order: from the smallest to the largest; with base, of the differences
--   machine                only judged on a machine of that name
--   profiles               only judged in these
--   evidence               contradiction: the arithmetic
--   why                    unmeasured: the reason
--   headline               its place among the claims that summaries show

local results_of = require "lib.results"
local statistics = require "lib.statistics"

local verdicts = {}

-- From the best to the least that can be said; how reports list them.
verdicts.order = { "reproduced", "within spread", "not reproduced", "underpowered", "the paper contradicts itself",
  "not measured" }

-- Those that say that a claim holds here.
verdicts.passing = { reproduced = true, ["within spread"] = true }

-- ---- reading -----------------------------------------------------------------------------------------------------

local claim_keys = {
  id = "string", text = "string", place = "string", kind = "string", model = "string", row = "string", base = "string",
  base_model = "string", metric = "string", paper = "number", tolerance = "table", at_most = "number", at_least = "number",
  resolution = "number", rows = "table", models = "table", machine = "string", profiles = "table", evidence = "string",
  why = "string", headline = "number",
}

local kinds = {
  value = { "model", "row", "metric" },
  difference = { "model", "row", "metric" },
  change = { "model", "row", "metric" },
  share = { "model", "row", "metric" },
  order = { "metric" },
  average = { "models", "row", "base", "metric" },
  contradiction = { "evidence" },
  unmeasured = { "why" },
}
local compared = { difference = true, change = true, share = true }
local without_range = { order = true, contradiction = true, unmeasured = true }

function verdicts.check_fields(item, keys, path, refuse)
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
  verdicts.check_fields(claim, claim_keys, path, refuse)
  local needed = kinds[claim.kind]
  if not needed then
    refuse(path, 'claim "%s" is of unknown kind "%s"', tostring(claim.id), tostring(claim.kind))
  end
  for _, key in ipairs { "id", "text", "place", table.unpack(needed) } do
    if claim[key] == nil then
      refuse(path, 'claim "%s" has no %s', tostring(claim.id), key)
    end
  end
  local range = claim.at_most or claim.at_least or (claim.paper and claim.tolerance)
  if not without_range[claim.kind] and not range then
    refuse(path, 'claim "%s" needs paper and tolerance, or at_most or at_least', claim.id)
  elseif compared[claim.kind] and not (claim.base or claim.base_model) then
    refuse(path, 'claim "%s" needs base, or base_model', claim.id)
  elseif claim.kind == "order" and not (claim.rows and claim.model) and not (claim.row and claim.models) then
    refuse(path, 'claim "%s" needs model and rows, or row and models', claim.id)
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

-- ---- rows --------------------------------------------------------------------------------------------------------

local function is_model(model, name)
  return model.name == name or model.model == name
end

local function stands_for(row, name)
  return row.paper and (row.paper == name or row.name == name)
end

-- Rows of ours that stand for a row of the paper.
local function rows_for(results, model_name, name)
  local found = {}
  for _, model in ipairs(results.models) do
    if is_model(model, model_name) then
      for _, row in ipairs(model.rows) do
        found[#found + 1] = stands_for(row, name) and row or nil
      end
    end
  end
  return found
end

local function differing_options(row, other)
  local a, b, count = row.cells[1].config.options or {}, other.cells[1].config.options or {}, 0
  for name, value in pairs(a) do
    count = count + (b[name] ~= value and 1 or 0)
  end
  for name in pairs(b) do
    count = count + (a[name] == nil and 1 or 0)
  end
  return count
end

-- The row that another one is compared with: of several that would do the one that has its name, else the most alike.
local function base_for(claim, row, results)
  local best, least
  for _, candidate in ipairs(rows_for(results, claim.base_model or row.model.name, claim.base or claim.row)) do
    local differing = candidate.name == row.name and -1 or differing_options(row, candidate)
    if not least or differing < least then
      best, least = candidate, differing
    end
  end
  return best
end

-- Whether the experiment lists such a row, whatever --only picked of it.
local function is_planned(plan, name)
  for _, row in ipairs(plan.rows) do
    if stands_for(row, name) then
      return true
    end
  end
  return false
end

-- ---- measuring ---------------------------------------------------------------------------------------------------

local combine = {
  difference = function(value, base)
    return value - base
  end,
  change = function(value, base)
    return base ~= 0 and 100 * (value / base - 1) or nil
  end,
  share = function(value, base)
    return base ~= 0 and 100 * value / base or nil
  end,
}

-- {seed = value} of runs with the same seed in both, so that what a seed does to both cancels.
local function pair(of_row, of_base, how)
  local values = {}
  for seed, value in pairs(of_row) do
    values[seed] = of_base[seed] and how(value, of_base[seed])
  end
  return values
end

local function listed(by_seed)
  local values = {}
  for _, value in pairs(by_seed) do
    values[#values + 1] = value
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

local function row_obstacle(claim, row)
  local metric, profile = results_of.metric(claim.metric), row.model.profile
  if claim.machine and other_machine(row, claim.machine) then
    return (metric.wants_own_machine and "seconds and joules compare only on the paper's board, %s; their changes are judged"
      or "only the paper's board, %s, can show it"):format(claim.machine)
  end
  if metric.wants_data and synthetic(row) then
    return synthetic(row)
  end
  if not judged_in(claim, profile) then
    return ("profile %s is too small to judge by"):format(profile)
  end
  return metric.wants_own_machine and shared_machine(row) and "other programs used the machine meanwhile" or nil
end

-- What a claim is about, with this row: {by_seed = {seed = value}, gap =, obstacle =, rows =}. gap: why some or all values are
-- missing; obstacle: why the claim cannot be judged with them; rows: this one, and the one that it is compared with.
local function measure(claim, row, results)
  local compares = claim.base or claim.base_model
  local base = compares and base_for(claim, row, results) or nil
  local by_seed, gap, obstacle = row:by_seed(claim.metric), row:gap(claim.metric), row_obstacle(claim, row)
  if base then
    by_seed = pair(by_seed, base:by_seed(claim.metric), combine[claim.kind] or combine.difference)
    gap = gap or base:gap(claim.metric) or (#listed(by_seed) == 0 and "no seed that both rows have" or nil)
    obstacle = obstacle or row_obstacle(claim, base)
  elseif compares then
    by_seed, gap = {}, "no row here to compare with"
  end
  return { by_seed = by_seed, gap = gap, obstacle = obstacle, rows = { row, base } }
end

-- ---- judging -----------------------------------------------------------------------------------------------------

-- How far off a number of these rows still counts: of rows trained as different profiles say, the widest.
local function tolerance_of(claim, rows)
  local widest
  for _, row in ipairs(claim.paper and claim.tolerance and rows or {}) do
    local tolerance = claim.tolerance[row.model.profile]
    widest = tolerance and math.max(widest or 0, tolerance) or widest
  end
  return widest
end

local function range_of(claim, tolerance)
  if tolerance then
    return claim.paper - tolerance, claim.paper + tolerance
  end
  return claim.at_least or -math.huge, claim.at_most or math.huge
end

-- Half of the 95 % interval; 0 where no seed changes the number, nil where one seed cannot tell.
local function half_interval(values, metric)
  if results_of.metric(metric).exact then
    return 0
  end
  local half = statistics.half_interval(values)
  return half and (half == half and half or 0) -- infinite numbers have no spread
end

-- How many seeds would make half of the interval `half`, if their mean and spread stayed as they are.
local function seeds_text(values, half)
  local seeds = statistics.seeds_for(statistics.deviation(values), half)
  return seeds and ("%d seeds"):format(seeds) or ("over %d seeds"):format(statistics.most_seeds)
end

-- Fills in the verdict: of the mean, its interval, and the range that the claim allows.
local function judge_numbers(entry, values)
  local claim, tolerance = entry.claim, tolerance_of(entry.claim, entry.rows)
  local mean, half = statistics.mean(values), half_interval(values, claim.metric)
  local low, high = range_of(claim, tolerance)
  entry.inside = mean >= low and mean <= high
  if not half then
    entry.verdict, entry.needs = "underpowered", "2 seeds"
    return
  end
  local resolution = tolerance or claim.resolution or 0
  if mean + half < low or mean - half > high then
    entry.verdict = "not reproduced"
  elseif (mean - half >= low and mean + half <= high) or (entry.inside and half <= resolution) then
    entry.verdict = "reproduced"
  elseif half <= resolution then
    entry.verdict = "within spread"
  else
    entry.verdict = "underpowered"
    entry.needs = seeds_text(values, math.max(resolution, math.min(math.abs(mean - low), math.abs(mean - high))))
  end
end

-- Averages of percentages are differences in points, as in the paper.
local function kind_of_average(metric)
  return results_of.metric(metric).unit == "%" and "difference" or "change"
end

-- Counts of operations are millions.
local function large_number(value)
  local shown, unit = value, ""
  if value >= 1e6 then
    shown, unit = value / 1e6, " M"
  elseif value >= 1e4 then
    shown, unit = value / 1e3, " K"
  end
  return results_of.number_text(shown, results_of.digits_of(shown)) .. unit
end

local function number_with_unit(claim, value, interval)
  local kind, unit = claim.kind, results_of.metric(claim.metric).unit
  kind = kind == "average" and kind_of_average(claim.metric) or kind
  if kind == "value" and (unit == "" or unit == "operations") then
    return large_number(value) .. (interval or "")
  end
  local digits = kind == "change" and "%+.1f" or kind == "difference" and "%+.2f" or results_of.digits_of(value)
  if kind == "change" or kind == "share" then
    unit = "%"
  elseif kind == "difference" and unit == "%" then
    unit = "points"
  end
  return results_of.number_text(value, digits) .. (interval or "") .. (unit ~= "" and " " .. unit or "")
end

-- The mean with the 95 % interval over seeds.
local function measured_text(claim, values)
  local half = half_interval(values, claim.metric)
  local shown = half and results_of.number_text(half, half < 10 and "%.2f" or "%.1f")
  return number_with_unit(claim, statistics.mean(values), shown and tonumber(shown) ~= 0 and " ±" .. shown)
end

local function expected_text(claim)
  if claim.paper and claim.tolerance then
    return number_with_unit(claim, claim.paper)
  end
  local parts = {}
  parts[#parts + 1] = claim.at_least and "≥ " .. number_with_unit(claim, claim.at_least) or nil
  parts[#parts + 1] = claim.at_most and "≤ " .. number_with_unit(claim, claim.at_most) or nil
  return table.concat(parts, ", ")
end

local function text_for(claim, row)
  local title = row.title:gsub("%%", "%%%%")
  return (claim.text:gsub("{row}", title))
end

local function new_entry(claim, row)
  return { claim = claim, row = row.name, rows = {}, text = text_for(claim, row), network = row.model.title,
    expected = expected_text(claim), measured = "-" }
end

local function give_verdict(entry, values, reason)
  if #values > 0 then
    entry.measured = measured_text(entry.claim, values)
  end
  if reason then
    entry.verdict, entry.reason = "not measured", reason
  else
    judge_numbers(entry, values)
  end
  return entry
end

local function judge_row(claim, row, results)
  local entry, found = new_entry(claim, row), measure(claim, row, results)
  local values = listed(found.by_seed)
  entry.obstacle, entry.rows = found.obstacle, found.rows
  give_verdict(entry, values, entry.obstacle or (#values == 0 and (found.gap or "not run")) or nil)
  if found.gap and #values > 0 then
    entry.measured = ("%s (%d of %d)"):format(entry.measured, #values, #row.cells)
  end
  return entry
end

-- The mean over the networks for each seed that all of them have; where that are fewer than two seeds, one mean of means.
local function average_values(of_models)
  local values, means = {}, {}
  for i, by_seed in ipairs(of_models) do
    means[i] = statistics.mean(listed(by_seed))
  end
  for seed in pairs(of_models[1]) do
    local sum = 0
    for _, by_seed in ipairs(of_models) do
      sum = sum and by_seed[seed] and sum + by_seed[seed]
    end
    values[#values + 1] = sum and sum / #of_models or nil
  end
  return #values > 1 and values or { statistics.mean(means) }
end

local function judge_average(claim, first, results)
  local entry = new_entry(claim, first)
  entry.network = nil
  local of_models, reason = {}, nil
  for i, model in ipairs(claim.models) do
    local here = { kind = kind_of_average(claim.metric), model = model, row = claim.row, base = claim.base,
      metric = claim.metric, paper = claim.paper, tolerance = claim.tolerance }
    local row
    for _, candidate in ipairs(rows_for(results, model, claim.row)) do
      row = candidate.name == first.name and candidate or row
    end
    local found = row and measure(here, row, results) or { by_seed = {}, gap = "the experiment has no such row", rows = {} }
    of_models[i] = found.by_seed
    entry.obstacle = entry.obstacle or found.obstacle
    table.move(found.rows, 1, #found.rows, #entry.rows + 1, entry.rows)
    reason = reason or #listed(found.by_seed) == 0 and (found.gap or "not run") or nil
  end
  local profiles = results:profiles(entry.rows)
  entry.text = entry.text .. (#profiles > 1 and ", profiles " .. table.concat(profiles, " and ") or "")
  return give_verdict(entry, reason and {} or average_values(of_models), entry.obstacle or reason)
end

-- ---- orders ------------------------------------------------------------------------------------------------------

-- The rows that an order is about, one of each of claim.rows or of each of claim.models; of several rows of a network that
-- would do, the one called `name`.
local function order_rows(claim, results, name)
  local rows = {}
  for i, member in ipairs(claim.rows or claim.models) do
    local candidates = rows_for(results, claim.rows and claim.model or member, claim.rows and member or claim.row)
    rows[i] = candidates[1] or false
    for _, candidate in ipairs(candidates) do
      rows[i] = candidate.name == name and candidate or rows[i]
    end
  end
  return rows
end

-- list of {title =, by_seed =, mean =, standing =, obstacle =, rows =}, and a reason where one is missing.
local function order_items(claim, rows, results)
  local items, reason = {}, nil
  for i, member in ipairs(claim.rows or claim.models) do
    local row = rows[i]
    local here = { kind = "difference", row = row and row.name, base = claim.base, metric = claim.metric,
      machine = claim.machine, profiles = claim.profiles }
    local found = row and measure(here, row, results)
      or { by_seed = {}, gap = "this experiment has no row that stands for " .. member, rows = {} }
    local title = row and (claim.rows and row.title or row.model.title) or member
    items[i] = { title = title, by_seed = found.by_seed, standing = i, mean = statistics.mean(listed(found.by_seed)),
      obstacle = found.obstacle, rows = found.rows }
    reason = reason or not items[i].mean and (found.gap or "not run") or nil
  end
  return items, reason
end

-- "a < b = c", and whether every step up is as claimed.
local function order_text(items)
  local text = items[1].title
  for i = 2, #items do
    text = text .. (items[i].mean == items[i - 1].mean and " = " or " < ") .. items[i].title
  end
  return text
end

-- One step: nothing where it is plainly up, else a verdict and for an underpowered one what it needs.
local function judge_step(claim, low, high)
  local values = listed(pair(high.by_seed, low.by_seed, combine.difference))
  local half = half_interval(values, claim.metric)
  if #values == 0 or not half then
    return "underpowered", #values == 0 and "seeds in common" or "2 seeds"
  end
  local mean = statistics.mean(values)
  local resolution = (claim.resolution or 0) / 100 * math.min(math.abs(low.mean), math.abs(high.mean))
  if mean <= 0 and mean + half <= 0 then
    return "not reproduced"
  elseif mean - half > 0 then
    return nil
  elseif half <= resolution then
    return "within spread"
  end
  return "underpowered", seeds_text(values, math.max(resolution, math.abs(mean)))
end

-- The worst of the steps decides.
local function judge_steps(entry, items)
  local worst = 1
  entry.inside = true
  for i = 2, #items do
    entry.inside = entry.inside and items[i].mean > items[i - 1].mean
    local verdict, needs = judge_step(entry.claim, items[i - 1], items[i])
    local rank = ({ ["within spread"] = 2, underpowered = 3, ["not reproduced"] = 4 })[verdict] or 1
    if rank > worst then
      worst, entry.needs = rank, needs
    end
  end
  entry.verdict = ({ "reproduced", "within spread", "underpowered", "not reproduced" })[worst]
end

local function judge_order(claim, rows, results)
  local first = rows[1]
  local entry = { claim = claim, row = claim.models and first and first.name or nil, rows = {}, expected = "", measured = "-",
    text = claim.models and first and text_for(claim, first) or claim.text,
    network = claim.rows and first and first.model.title or nil }
  local items, reason = order_items(claim, rows, results)
  local titles = {}
  for i, item in ipairs(items) do
    titles[i] = item.title
    entry.obstacle = entry.obstacle or item.obstacle
    table.move(item.rows, 1, #item.rows, #entry.rows + 1, entry.rows)
  end
  entry.expected = table.concat(titles, " < ")
  entry.reason = entry.obstacle or reason
  entry.verdict = entry.reason and "not measured"
  if not entry.verdict then
    judge_steps(entry, items)
    table.sort(items, function(a, b)
      return a.mean < b.mean or (a.mean == b.mean and a.standing < b.standing)
    end)
    entry.measured = order_text(items)
  end
  return entry
end

-- Over rows there is one, over networks one for each row of ours.
local function judge_orders(claim, results)
  local entries = {}
  for _, row in ipairs(claim.models and rows_for(results, claim.models[1], claim.row) or {}) do
    entries[#entries + 1] = judge_order(claim, order_rows(claim, results, row.name), results)
  end
  return #entries > 0 and entries or { judge_order(claim, order_rows(claim, results), results) }
end

-- ---- all claims --------------------------------------------------------------------------------------------------

local function judge_contradiction(claim)
  return { claim = claim, rows = {}, text = claim.text, expected = "", measured = "-", verdict = "the paper contradicts itself",
    reason = claim.evidence }
end

local function without_measurement(claim, reason)
  local titled = claim.row and claim.text:gsub("{row}", claim.row) or claim.text
  return { claim = claim, rows = {}, text = titled, expected = "", measured = "-", verdict = "not measured", reason = reason }
end

local function judge(claim, results, plan)
  if claim.kind == "contradiction" then
    return { judge_contradiction(claim) }
  elseif claim.kind == "unmeasured" then
    return { without_measurement(claim, claim.why) }
  elseif claim.kind == "order" then
    return judge_orders(claim, results)
  end
  local entries, average = {}, claim.kind == "average"
  for _, row in ipairs(rows_for(results, average and claim.models[1] or claim.model, claim.row)) do
    entries[#entries + 1] = (average and judge_average or judge_row)(claim, row, results)
  end
  if #entries == 0 and not is_planned(plan, claim.row) then
    entries[1] = without_measurement(claim, ("this experiment has no row that stands for %s"):format(claim.row))
  end
  return entries
end

local function models_of(claim)
  return { claim.model, claim.base_model, table.unpack(claim.models or {}) }
end

-- list of {claim =, row =, rows =, text =, network =, expected =, measured =, verdict =, needs =, reason =, obstacle =,
-- inside =}.
-- row: the name of the row that is judged; rows: those that the number is of; needs: of an underpowered claim, how many seeds
-- it would take; inside: whether the mean alone is as claimed. Claims on models that the experiment does not train, or that
-- --only left out, are left out.
function verdicts.judge(results, plan)
  local function is_trained(name)
    for _, model in ipairs(results.models) do
      if is_model(model, name) then
        return true
      end
    end
    return false
  end
  local entries = {}
  for _, claim in ipairs(plan.claims) do
    local here = true
    for _, name in pairs(models_of(claim)) do
      here = here and is_trained(name)
    end
    for _, entry in ipairs(here and judge(claim, results, plan) or {}) do
      entries[#entries + 1] = entry
    end
  end
  return entries
end

-- The same without what only Lua can read.
function verdicts.plain(entries)
  local list = {}
  for i, entry in ipairs(entries) do
    list[i] = { id = entry.claim.id, place = entry.claim.place, row = entry.row, text = entry.text, network = entry.network,
      expected = entry.expected, measured = entry.measured, verdict = entry.verdict, needs = entry.needs,
      reason = entry.reason }
  end
  return list
end

-- "underpowered: 24 seeds"
function verdicts.text(entry)
  return entry.verdict .. (entry.needs and ": " .. entry.needs or "")
end

-- {verdict = how many entries have it}
function verdicts.counts(entries)
  local counts = {}
  for _, entry in ipairs(entries) do
    counts[entry.verdict] = (counts[entry.verdict] or 0) + 1
  end
  return counts
end

-- "3 reproduced, 2 not measured"
function verdicts.summary(entries)
  local counts, parts = verdicts.counts(entries), {}
  for _, verdict in ipairs(verdicts.order) do
    parts[#parts + 1] = counts[verdict] and ("%d %s"):format(counts[verdict], verdict) or nil
  end
  return table.concat(parts, ", ")
end

-- How many networks the entries are about.
function verdicts.count_networks(entries)
  local seen, count = {}, 0
  for _, entry in ipairs(entries) do
    if entry.network and not seen[entry.network] then
      seen[entry.network], count = true, count + 1
    end
  end
  return count
end

return verdicts
