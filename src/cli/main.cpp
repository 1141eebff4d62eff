#include "cli/program.h"

int main(int argc, char** argv) {
  return appmesh::cli::run(argc, argv);
}
