// Millions of random events, and the promises of the lifecycle checked at each. A failure prints the seed that replays
// it.
#include <cstdlib>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "world.h"

namespace appmesh::simulation {
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);  // NOLINT: no other thread runs
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(SimulationTest, NoSequenceOfEventsBreaksAPromise) {
  constexpr std::uint64_t kStepsOfAnEpisode = 200;
  const std::uint64_t steps = from_environment("SIMULATION_STEPS", 200'000);
  const std::uint64_t first = from_environment("SIMULATION_SEED", 1);
  std::map<std::string, std::uint64_t> counts;
  for (std::uint64_t done = 0, seed = first; done < steps; done += kStepsOfAnEpisode, ++seed) {
    World world(seed);
    try {
      for (std::uint64_t i = 0; i < kStepsOfAnEpisode; ++i) world.act();
      world.settle();
    } catch (const Violation& violation) {
      FAIL() << violation.what() << "\n"
             << world.log() << fmt::format("replay: SIMULATION_SEED={} SIMULATION_STEPS={}\n", seed, kStepsOfAnEpisode);
    }
    for (const auto& [name, count] : world.counts()) counts[name] += count;
  }
  for (const auto& [name, count] : counts) std::printf("%10lu %s\n", static_cast<unsigned long>(count), name.c_str());
}

}  // namespace
}  // namespace appmesh::simulation
