/* An object that is no trainer at all. */
extern const int something_else;
const int something_else = 1;
