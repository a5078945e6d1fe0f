-- experiment { ... }: checks what an author wrote, and turns it into runs, tables and verdicts. The program loads this
-- file first (harness/lua_host.h); docs/edit-an-experiment.md is the author's view.

local host = ...
local input = host.input
local registry = input.registry

require "lib.globals"(_G, host.nearest)
local locate = require "lib.locate"
local results = require "lib.results"
local documents = require "lib.documents"
local gates = require "lib.gates"
local junit = require "lib.junit"
local verdicts = require "lib.verdicts"

local known = setmetatable({}, { __mode = "k" }) -- descriptions that went through experiment { ... }

-- ---- refusing ----------------------------------------------------------------------------------------------------

local function refuse(path, message, ...)
  host.refuse(("%s: %s"):format(locate(host.sources(), path), message:format(...)))
end

local function meant(name, names)
  local nearest = host.nearest(tostring(name), names)
  return nearest and ('; did you mean "%s"?'):format(nearest) or ""
end

local function joined(path)
  local text = ""
  for _, key in ipairs(path) do
    text = text .. (type(key) == "number" and "[" .. key .. "]" or text == "" and key or "." .. key)
  end
  return text
end

local function extend(path, key)
  local longer = table.move(path, 1, #path, 1, {})
  longer[#longer + 1] = key
  return longer
end

local function names_of(list)
  local names = {}
  for i, item in ipairs(list) do
    names[i] = item.name
  end
  return names
end

local function by_name(list)
  local found = {}
  for _, item in ipairs(list) do
    found[item.name] = item
  end
  return found
end

local function keys_of(values)
  local names = {}
  for key in pairs(values) do
    names[#names + 1] = tostring(key)
  end
  return names
end

local function expect(value, kind, path)
  if type(value) ~= kind then
    refuse(path, "%s must be a %s, not a %s", joined(path), kind == "string" and "text" or kind,
      type(value) == "string" and "text" or type(value))
  end
  return value
end

-- Every key of values must be in allowed (a set), except positions up to `positions`.
local function check_keys(values, allowed, path, positions)
  for key in pairs(values) do
    if not allowed[key] and not (math.type(key) == "integer" and key >= 1 and key <= (positions or 0)) then
      refuse(extend(path, key), 'unknown key "%s" in %s%s', tostring(key), #path > 0 and joined(path) or "the experiment",
        meant(key, keys_of(allowed)))
    end
  end
end

-- ---- options -----------------------------------------------------------------------------------------------------

local algorithms, models, datasets = by_name(registry.algorithms), by_name(registry.models), by_name(registry.datasets)

-- The options of every run that an experiment may set; the others belong to the machine or to the plan.
local run_options = by_name(registry.run)
for _, name in ipairs { "model", "algorithm", "dataset", "data", "plugin", "seed", "threads" } do
  run_options[name] = nil
end

local number_words = { inf = math.huge, ["-inf"] = -math.huge }

local function range_text(option)
  local low, high = option.minimum, option.maximum
  local function short(number)
    return math.tointeger(number) and ("%d"):format(number) or ("%g"):format(number)
  end
  if low and high then
    return (" from %s to %s"):format(short(low), short(high))
  end
  return low and " of at least " .. short(low) or high and " of at most " .. short(high) or ""
end

local function number_fits(option, value)
  local number = type(value) == "number" and value or number_words[value]
  if not number or number ~= number or (option.type == "integer" and not math.tointeger(number)) then
    return nil
  end
  if (option.minimum and number < option.minimum) or (option.maximum and number > option.maximum) then
    return nil
  end
  if math.abs(number) == math.huge then
    return value == math.huge and "inf" or value == -math.huge and "-inf" or value
  end
  return option.type == "integer" and math.tointeger(number) or number
end

-- hidden = { 500, 500 } is "500,500".
local function number_list(values)
  local texts = {}
  for i, value in ipairs(values) do
    texts[i] = math.tointeger(value) and tostring(math.tointeger(value))
  end
  return #texts == #values and table.concat(texts, ",") or nil
end

-- What is wrong with a value, as the end of a sentence; or nil, and the value as it travels to the program.
local function check_value(option, value)
  if option.type == "integer" or option.type == "number" then
    local number = number_fits(option, value)
    if not number then
      return ("must be %s%s, not %s"):format(option.type == "integer" and "a whole number" or "a number",
        range_text(option), tostring(value))
    end
    return nil, number
  elseif option.type == "boolean" then
    return type(value) ~= "boolean" and ("must be true or false, not " .. tostring(value)) or nil, value
  elseif option.type == "choice" then
    for _, choice in ipairs(option.choices) do
      if choice == value then
        return nil, value
      end
    end
    return ("must be one of %s, not %s%s"):format(table.concat(option.choices, ", "), tostring(value),
      type(value) == "string" and meant(value, option.choices) or "")
  end
  if option.type == "string" and type(value) == "table" then
    value = number_list(value) or value
  elseif option.type == "string" and math.tointeger(value) then
    value = tostring(math.tointeger(value))
  end
  return type(value) ~= "string" and ("must be a text, not a " .. type(value)) or nil, value
end

local function check_option(option, value, path)
  local problem, checked = check_value(option, value)
  if problem then
    refuse(path, "%s %s", option.name, problem)
  end
  return checked
end

-- Text from the command line, as the type that the option has in Lua.
local function from_text(option, text)
  if option.type == "integer" or option.type == "number" then
    return number_words[text] or tonumber(text) or text
  elseif option.type == "boolean" then
    local words = { ["true"] = true, on = true, yes = true, ["1"] = true }
    local not_words = { ["false"] = true, off = true, no = true, ["0"] = true }
    return words[text] or (not not_words[text] and text)
  end
  return text
end

local function check_options(values, options, owner, path)
  local checked = {}
  for name, value in pairs(expect(values, "table", path)) do
    if not options[name] then
      refuse(extend(path, name), '%s has no option "%s"%s', owner, tostring(name), meant(name, keys_of(options)))
    end
    checked[name] = check_option(options[name], value, extend(path, name))
  end
  return checked
end

-- ---- seeds, profiles, models, rows -------------------------------------------------------------------------------

local function check_seeds(seeds, path)
  expect(seeds, "table", path)
  local seen = {}
  for i, seed in ipairs(seeds) do
    if not math.tointeger(seed) or seed < 0 then
      refuse(extend(path, i), "seeds must be whole numbers from 0, not %s", tostring(seed))
    elseif seen[seed] then
      refuse(extend(path, i), "seed %d stands there twice", seed)
    end
    seen[seed] = true
  end
  if #seeds == 0 then
    refuse(path, "%s must list at least one seed: { 1 }", joined(path))
  end
  return seeds
end

local function run_keys(...)
  local allowed = {}
  for name in pairs(run_options) do
    allowed[name] = true
  end
  for _, name in ipairs { ... } do
    allowed[name] = true
  end
  return allowed
end

-- The run options among the keys of a table.
local function pick_run_options(values, path)
  local picked = {}
  for name, option in pairs(run_options) do
    if values[name] ~= nil then
      picked[name] = check_option(option, values[name], extend(path, name))
    end
  end
  return picked
end

local function find_named(list, names, what, name, path)
  if type(name) ~= "string" or not list[name] then
    refuse(path, 'unknown %s "%s": there are %s%s', what, tostring(name), table.concat(names, ", "), meant(name, names))
  end
  return list[name]
end

local function read_model(entry, name, path)
  expect(entry, "table", path)
  check_keys(entry, run_keys("dataset", "name", "title", "options"), path, 1)
  local named = type(name) == "string"
  local model = entry[1] or (named and name)
  local found = find_named(models, names_of(registry.models), "model", model, entry[1] and extend(path, 1) or path)
  if entry.dataset == nil then
    refuse(path, '%s has no dataset: add dataset = "mnist"', joined(path))
  end
  find_named(datasets, names_of(registry.datasets), "dataset", entry.dataset, extend(path, "dataset"))
  return {
    model = model,
    name = named and name or entry.name and expect(entry.name, "string", extend(path, "name")) or model,
    title = entry.title and expect(entry.title, "string", extend(path, "title")) or found.title or model,
    dataset = entry.dataset,
    options = check_options(entry.options or {}, by_name(found.options), model, extend(path, "options")),
    run = pick_run_options(entry, path),
  }
end

local row_keys = { name = true, title = true, note = true, paper = true, plugin = true, models = true }
local other_keys = { [1] = true, paper = true, models = true } -- read apart from the texts and the options

local function read_row_option(row, algorithm, name, value, path)
  if not algorithm then -- of a plug-in, whose options only the program knows
    row.options[name] = value
    return
  end
  local options = by_name(algorithm.options)
  if not options[name] then
    local names = keys_of(options)
    for key in pairs(run_keys("name", "title", "note", "paper", "plugin", "models")) do
      names[#names + 1] = key
    end
    refuse(extend(path, name), '%s has no option "%s"%s', row.algorithm, tostring(name), meant(name, names))
  end
  row.options[name] = check_option(options[name], value, extend(path, name))
end

-- models = { "mlp" }: the only ones that a row is trained on, as a set; nil for all of them.
local function read_row_models(names, model_list, path)
  if names == nil then
    return nil
  end
  local set = {}
  for i, name in ipairs(expect(names, "table", path)) do
    find_named(by_name(model_list), names_of(model_list), "model of this experiment", name, extend(path, i))
    set[name] = true
  end
  return set
end

local function read_row(entry, model_list, path)
  expect(entry, "table", path)
  local algorithm
  if not entry.plugin then
    algorithm = find_named(algorithms, names_of(registry.algorithms), "algorithm", entry[1], extend(path, 1))
  end
  local row = { algorithm = expect(entry[1], "string", extend(path, 1)), options = {}, run = pick_run_options(entry, path) }
  for key, value in pairs(entry) do
    if row_keys[key] and not other_keys[key] then
      row[key] = expect(value, "string", extend(path, key))
    elseif not other_keys[key] and not run_options[key] then
      read_row_option(row, algorithm, key, value, path)
    end
  end
  row.models = read_row_models(entry.models, model_list, extend(path, "models"))
  row.name = row.name or row.algorithm
  row.title = row.title or row.name
  row.paper = entry.paper == nil and row.algorithm or entry.paper
  if row.paper ~= false then
    expect(row.paper, "string", extend(path, "paper"))
  end
  return row
end

local function check_unique(list, what, key)
  local seen = {}
  for i, item in ipairs(list) do
    if seen[item.name] then
      refuse({ key, i }, 'two %s are called "%s": give each a name of its own, name = "..."', what, item.name)
    end
    seen[item.name] = true
  end
end

-- models = { mlp = {...} } in the program's order, or a list { {"mlp", name = "..."}, ... } in its own.
local function read_models(description)
  local list = {}
  for i, entry in ipairs(description.models) do
    list[#list + 1] = read_model(entry, i, { "models", i })
  end
  local standing = {}
  for i, name in ipairs(names_of(registry.models)) do
    standing[name] = i
  end
  local named = {}
  for key in pairs(description.models) do
    if type(key) == "string" then
      named[#named + 1] = key
    end
  end
  table.sort(named, function(a, b)
    local place_a, place_b = standing[a] or math.huge, standing[b] or math.huge
    return place_a < place_b or (place_a == place_b and a < b)
  end)
  for _, key in ipairs(named) do
    list[#list + 1] = read_model(description.models[key], key, { "models", key })
  end
  if #list == 0 then
    refuse({ "models" }, 'models is empty: name at least one, models = { mlp = { dataset = "mnist" } }')
  end
  check_unique(list, "models", "models")
  return list
end

local function read_rows(description, model_list)
  local list = {}
  check_keys(description.algorithms, {}, { "algorithms" }, #description.algorithms)
  for i, entry in ipairs(description.algorithms) do
    list[i] = read_row(entry, model_list, { "algorithms", i })
  end
  if #list == 0 then
    refuse({ "algorithms" }, 'algorithms is empty: name at least one, algorithms = { {"bp_fp32"} }')
  end
  check_unique(list, "rows of algorithms", "algorithms")
  return list
end

-- What a profile says about single models or rows: {name = run options}.
local function read_overrides(values, list, other, what, path, read)
  local overrides = {}
  if values == nil then
    return overrides
  end
  local names = {}
  for _, item in ipairs(list) do
    names[item.name] = item
    names[item[other]] = item
  end
  for name, entry in pairs(expect(values, "table", path)) do
    local here = extend(path, name)
    if not names[name] then
      refuse(here, 'this experiment has no %s "%s"%s', what, tostring(name), meant(name, keys_of(names)))
    end
    overrides[name] = read(expect(entry, "table", here), here, names[name])
  end
  return overrides
end

-- Options of every run, and the algorithm's own where it is not a plug-in's.
local function read_row_override(entry, path, row)
  local own = by_name((algorithms[row.algorithm] or { options = {} }).options)
  local options = {}
  check_keys(entry, run_keys(table.unpack(keys_of(own))), path)
  for name, option in pairs(own) do
    if entry[name] ~= nil then
      options[name] = check_option(option, entry[name], extend(path, name))
    end
  end
  return { run = pick_run_options(entry, path), options = options }
end

local function read_row_overrides(values, row_list, path)
  return read_overrides(values, row_list, "algorithm", "row", path, read_row_override)
end

local function read_model_overrides(values, model_list, row_list, path)
  local own = {}
  for name, entry in pairs(values and expect(values, "table", path) or {}) do
    own[name] = type(entry) ~= "string" and entry or nil -- a text names another profile: read_sources
  end
  return read_overrides(own, model_list, "model", "model", path, function(entry, here)
    check_keys(entry, run_keys("seeds", "algorithms"), here)
    return {
      run = pick_run_options(entry, here),
      seeds = entry.seeds and check_seeds(entry.seeds, extend(here, "seeds")),
      algorithms = read_row_overrides(entry.algorithms, row_list, extend(here, "algorithms")),
    }
  end)
end

-- Which models are trained as another profile says: {name = profile}. profiles = { reference = "paper" } says it of all, and
-- reference = { models = { mlp = "paper" } } of some.
local function read_sources(profile, model_list, profiles, path)
  local sources, names = {}, {}
  local function add(name, source, here)
    if type(profiles[source]) ~= "table" then
      refuse(here, 'there is no profile "%s" with runs of its own%s', source, meant(source, keys_of(profiles)))
    end
    for model, entry in pairs(profiles[source].models or {}) do
      if type(entry) == "string" then
        refuse(here, 'profile "%s" takes %s from another one itself: name that one', source, tostring(model))
      end
    end
    sources[name] = source
  end
  for _, model in ipairs(model_list) do
    names[model.name], names[model.model] = true, true
    if type(profile) == "string" then
      add(model.name, profile, path)
    end
  end
  for name, entry in pairs(type(profile) == "table" and profile.models or {}) do
    local here = extend(extend(path, "models"), name)
    if type(entry) == "string" and not names[name] then
      refuse(here, 'this experiment has no model "%s"%s', tostring(name), meant(name, keys_of(names)))
    elseif type(entry) == "string" then
      add(name, entry, here)
    end
  end
  return sources
end

local function read_profile(profile, model_list, row_list, path)
  if type(profile) == "string" then
    profile = {}
  end
  expect(profile, "table", path)
  check_keys(profile, run_keys("seeds", "models", "algorithms"), path)
  return {
    run = pick_run_options(profile, path),
    seeds = check_seeds(profile.seeds or { 1 }, extend(path, "seeds")),
    models = read_model_overrides(profile.models, model_list, row_list, extend(path, "models")),
    algorithms = read_row_overrides(profile.algorithms, row_list, extend(path, "algorithms")),
  }
end

-- "ff_int8_one_pass" belongs to ff_int8, also where an experiment leaves that row out.
local function algorithm_before(name)
  local longest = ""
  for algorithm in pairs(algorithms) do
    if #algorithm > #longest and tostring(name):sub(1, #algorithm) == algorithm then
      longest = algorithm
    end
  end
  return longest
end

-- defaults = { mlp = { bp_fp32 = { learning_rate = 0.05 } } }: options of an algorithm or of a row on a model.
local function read_defaults(values, row_list)
  local rows = {}
  for _, row in ipairs(row_list) do
    rows[row.name] = row.algorithm
    rows[row.algorithm] = row.algorithm
  end
  local read = {}
  for model, entries in pairs(values or {}) do
    local path = { "defaults", model }
    find_named(models, names_of(registry.models), "model", model, path)
    read[model] = {}
    for name, options in pairs(expect(entries, "table", path)) do
      local here = extend(path, name)
      local algorithm = algorithms[rows[name] or algorithm_before(name)]
      if algorithm then
        read[model][name] = check_options(options, by_name(algorithm.options), algorithm.name, here)
      elseif not rows[name] then
        refuse(here, '%s: a row of this experiment, or a name that begins with an algorithm\'s%s', joined(here),
          meant(name, keys_of(rows)))
      end
    end
  end
  return read
end

-- ---- the plan ----------------------------------------------------------------------------------------------------

local function overlay(target, values)
  for name, value in pairs(values or {}) do
    target[name] = value
  end
end

-- What a profile says under the general and under the special name.
local function overrides_of(overrides, general, special)
  local found = { overrides[general] }
  if special ~= general then
    found[#found + 1] = overrides[special]
  end
  return found
end

local function cell_of(plan, model, row, seed)
  local profile = plan.profiles[model.profile]
  local config = { model = model.model, algorithm = row.algorithm, dataset = model.dataset, seed = seed, plugin = row.plugin }
  -- The more special wins: profile, model, row, the profile's word on this model, on this algorithm, on this row, and on
  -- this algorithm and row where it speaks of this model.
  overlay(config, profile.run)
  overlay(config, model.run)
  overlay(config, row.run)
  local on_model = overrides_of(profile.models, model.model, model.name)
  local on_row = overrides_of(profile.algorithms, row.algorithm, row.name)
  for _, override in ipairs(on_model) do
    overlay(config, override.run)
  end
  for _, override in ipairs(on_model) do
    table.move(overrides_of(override.algorithms, row.algorithm, row.name), 1, 2, #on_row + 1, on_row)
  end
  local options, tuned = {}, plan.defaults[model.model] or {}
  overlay(options, tuned[row.algorithm])
  overlay(options, tuned[row.name])
  overlay(options, row.options)
  for _, override in ipairs(on_row) do
    overlay(config, override.run)
    overlay(options, override.options)
  end
  local model_options = {}
  overlay(model_options, model.options)
  config.options, config.model_options = options, model_options
  return { model = model.name, row = row.name, algorithm = row.algorithm, title = row.title, profile = model.profile,
    config = config }
end

local function set_dataset(cells, name)
  if not datasets[name] then
    local names = names_of(registry.datasets)
    host.refuse(('--set dataset=%s: there are %s%s'):format(name, table.concat(names, ", "), meant(name, names)))
  end
  for _, cell in ipairs(cells) do
    cell.config.dataset = name
  end
end

local function apply_set(cells, name, text)
  local run_option, model_option = run_options[name], name:match("^model%.(.+)$")
  local used, names = false, keys_of(run_options)
  for _, cell in ipairs(cells) do
    local config = cell.config
    local list = model_option and models[config.model].options or (algorithms[config.algorithm] or { options = {} }).options
    local option = run_option or by_name(list)[model_option or name]
    if option then
      local problem, value = check_value(option, from_text(option, text))
      if problem then
        host.refuse(("--set %s=%s: %s %s"):format(name, text, name, problem))
      end
      local target = run_option and config or model_option and config.model_options or config.options
      target[model_option or name] = value
      used = true
    end
    for _, listed in ipairs(list) do
      names[#names + 1] = (model_option and "model." or "") .. listed.name
    end
  end
  if not used then
    names[#names + 1] = "seeds"
    host.refuse(('--set %s: no run of %s has an option of this name%s'):format(name, host.file, meant(name, names)))
  end
end

local function seeds_from_text(text)
  local seeds = {}
  for part in text:gmatch("[^,]+") do
    local seed = math.tointeger(tonumber(part))
    if not seed or seed < 0 then
      host.refuse(("--set seeds=%s: seeds are whole numbers with commas between, such as 1,2,3"):format(text))
    end
    seeds[#seeds + 1] = seed
  end
  return #seeds > 0 and seeds or host.refuse("--set seeds=: name at least one seed, such as 1,2,3")
end

local only_keys = {
  model = function(cell)
    return { cell.model, cell.config.model }
  end,
  algorithm = function(cell)
    return { cell.row, cell.algorithm }
  end,
  dataset = function(cell)
    return { cell.config.dataset }
  end,
  seed = function(cell)
    return { tostring(cell.config.seed) }
  end,
}

-- Which cells --only leaves: any of the values of a key, and all keys.
local function select_cells(cells, only)
  local wanted = {}
  for _, pair in ipairs(only or {}) do
    local read = only_keys[pair.key]
    if not read then
      host.refuse(('--only %s=%s: unknown key "%s": there are algorithm, dataset, model, seed%s'):format(pair.key, pair.value,
        pair.key, meant(pair.key, keys_of(only_keys))))
    end
    local names, seen, matches = {}, {}, false
    for _, cell in ipairs(cells) do
      for _, name in ipairs(read(cell)) do
        matches = matches or name == pair.value
        if not seen[name] then
          names[#names + 1] = name
        end
        seen[name] = true
      end
    end
    if not matches then
      host.refuse(("--only %s=%s: no run is of that %s: there are %s%s"):format(pair.key, pair.value, pair.key,
        table.concat(names, ", "), meant(pair.value, names)))
    end
    wanted[pair.key] = wanted[pair.key] or {}
    wanted[pair.key][pair.value] = true
  end
  for _, cell in ipairs(cells) do
    cell.selected = true
    for key, values in pairs(wanted) do
      local matches = false
      for _, name in ipairs(only_keys[key](cell)) do
        matches = matches or values[name] == true
      end
      cell.selected = cell.selected and matches
    end
  end
end

local function find_profile(plan)
  local profile = plan.profiles[input.profile]
  if not profile then
    local names = keys_of(plan.profiles)
    host.refuse(('%s has no profile "%s": it has %s%s'):format(host.file, input.profile, table.concat(names, ", "),
      meant(input.profile, names)))
  end
  return profile
end

-- A profile's seeds, or those of one model; --set seeds stands above both.
local function seeds_of(plan, model)
  local profile = plan.profiles[model.profile]
  local seeds = profile.seeds
  for _, override in ipairs(overrides_of(profile.models, model.model, model.name)) do
    seeds = override.seeds or seeds
  end
  return plan.seeds or seeds
end

local function make_cells(plan)
  local cells = {}
  for _, model in ipairs(plan.models) do
    for _, seed in ipairs(seeds_of(plan, model)) do
      for _, row in ipairs(plan.rows) do
        if not row.models or row.models[model.name] then
          cells[#cells + 1] = cell_of(plan, model, row, seed)
        end
      end
    end
  end
  for _, pair in ipairs(input.set or {}) do
    if pair.name == "dataset" then
      set_dataset(cells, pair.text)
    elseif pair.name ~= "seeds" then
      apply_set(cells, pair.name, pair.text)
    end
  end
  select_cells(cells, input.only)
  for i, cell in ipairs(cells) do
    cell.index = i
    cell.id = ("%s %s seed %d"):format(cell.model, cell.row, cell.config.seed)
  end
  return cells
end

-- ---- what the author calls, and what the program calls -----------------------------------------------------------

local experiment_keys = {
  name = true, title = true, profiles = true, models = true, algorithms = true, defaults = true, paper = true, report = true,
  claims = true, gates = true,
}

local function experiment(description)
  if type(description) ~= "table" then
    refuse({}, "experiment takes one table: experiment { name = ... }")
  end
  check_keys(description, experiment_keys, {})
  for _, key in ipairs { "name", "profiles", "models", "algorithms" } do
    if description[key] == nil then
      refuse({}, "the experiment has no %s", key)
    end
  end
  if not expect(description.name, "string", { "name" }):find("^[%w_-]+$") then
    refuse({ "name" }, "name becomes a file name: letters, digits, _ and - only")
  end
  for _, key in ipairs { "profiles", "models", "algorithms", "defaults", "paper", "claims", "gates" } do
    expect(description[key] or {}, "table", { key })
  end
  if description.report then
    expect(description.report, "function", { "report" })
  end
  local plan = { name = description.name, report = description.report, paper = description.paper or {} }
  plan.title = expect(description.title or plan.name, "string", { "title" })
  plan.models = read_models(description)
  plan.rows = read_rows(description, plan.models)
  plan.defaults = read_defaults(description.defaults, plan.rows)
  plan.profiles = {}
  for name, profile in pairs(description.profiles) do
    plan.profiles[name] = read_profile(profile, plan.models, plan.rows, { "profiles", name })
    plan.profiles[name].sources = read_sources(profile, plan.models, description.profiles, { "profiles", name })
  end
  plan.claims = verdicts.read_claims(description.claims or {}, refuse)
  plan.gates = gates.read(description.gates or {}, plan, refuse)
  local marker = {}
  known[marker] = plan
  return marker
end

local modes = {}

function modes.describe(plan)
  return { name = plan.name, title = plan.title, profiles = keys_of(plan.profiles) }
end

function modes.plan(plan)
  return { name = plan.name, title = plan.title, cells = plan.cells }
end

function modes.report(plan)
  local outcome = results.new(plan, input)
  local function trace()
    return results.new(plan, input, true)
  end
  local document = documents.new(outcome, plan, trace)
  return {
    terminal = documents.terminal(document),
    files = {
      { name = plan.name .. ".md", text = documents.markdown(document) },
      { name = plan.name .. ".csv", text = documents.csv(outcome) },
    },
    figures = documents.figures(document, outcome),
    section = input.page and documents.section(trace(), plan, host.file) or nil,
  }
end

function modes.check(plan)
  local outcome = results.new(plan, input)
  local judged = verdicts.judge(outcome, plan)
  local list, failed = gates.judge(outcome, plan, judged)
  return { terminal = documents.terminal(documents.check(outcome, plan, list)), failed = failed, gates = list,
    verdicts = verdicts.plain(judged), junit = junit.text(outcome, list, judged) }
end

local function finish(value)
  if input.mode == "page" then -- of lib.page: what the reports gave, joined
    local text, summary = value(input)
    return { text = text, summary = summary }
  end
  local plan = type(value) == "table" and known[value]
  if not plan then
    host.refuse(host.file .. ": this file is no experiment: it must end with return experiment { ... }")
  end
  if input.mode ~= "describe" then
    local sources = find_profile(plan).sources
    for _, model in ipairs(plan.models) do
      model.profile = sources[model.name] or sources[model.model] or input.profile
    end
    plan.version, plan.draws = input.version, input.draws
    plan.changes = {}
    for _, pair in ipairs(input.set or {}) do
      table.insert(plan.changes, pair.name .. "=" .. pair.text)
      if pair.name == "seeds" then
        plan.seeds = seeds_from_text(pair.text)
      end
    end
    plan.cells = make_cells(plan)
  end
  return modes[input.mode](plan)
end

return experiment, finish
