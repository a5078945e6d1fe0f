-- Options of each algorithm on each network, chosen by `make search` on the validation split, eight learning rates for
-- each algorithm (results/search/, which also says what that budget leaves out). An entry is named like a row of an
-- experiment or like an algorithm; what is not listed keeps its default.
return {
  mlp = {
    bp_fp32 = { learning_rate = 0.1 },
    bp_int8 = { learning_rate = 0.05 },
    bp_ui8 = { learning_rate = 0.05 },
    bp_gdai8 = { learning_rate = 0.05 },
    ff_int8_tuned = { learning_rate = 4e-4 },
    ff_int8_paper = { learning_rate = 0.8 },
    ff_int8_one_pass = { learning_rate = 1e-3 },
  },
}
