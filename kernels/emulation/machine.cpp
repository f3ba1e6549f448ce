// The machine, and who is told of accesses, for programs that are compiled with `-DASSAY_EMULATION_APART`: once, optimised, and
// without sanitizers, which look for mistakes of kernels. So kernels need not be optimised to run soon.
//
//   c++ -std=c++17 -O2 -DASSAY_EMULATION -DASSAY_EMULATION_APART -DASSAY_ADDRESS_SANITIZER -c machine.cpp
//
// is for programs under AddressSanitizer, and with `-DASSAY_WATCHES_RACES` in place of the last, for those that watch for races.
#include "turns.hpp"
#ifdef ASSAY_WATCHES_RACES
#include "watching.hpp"
#endif
