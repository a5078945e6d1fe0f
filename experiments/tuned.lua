-- Options of each algorithm on each network, chosen by search on the validation split, with the same budget for each
-- algorithm. An entry is named like a row of an experiment or like an algorithm; what is not listed keeps its default.
return {
  mlp = {
    bp_fp32 = { learning_rate = 0.05, momentum = 0.9 },
    bp_int8 = { learning_rate = 0.05, momentum = 0.9 },
    bp_ui8 = { learning_rate = 0.05, momentum = 0.9 },
    bp_gdai8 = { learning_rate = 0.05, momentum = 0.9 },
  },
}
