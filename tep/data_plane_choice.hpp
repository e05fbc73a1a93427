// Which data plane carries the packets: the one place where a new one is plugged in.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/data_plane.hpp"
#include "common/dataplane/tun_plane_config.hpp"

namespace dstm::tep {

struct Config;

struct DataPlaneChoice {
    std::unique_ptr<dataplane::DataPlane> plane;
    std::string why;  // this one and no other, for the log
};

// What "data-plane" may be in the configuration, the default first.
[[nodiscard]] const std::vector<std::string>& data_plane_names();

// Called on the plane's thread; they must not call the plane.
struct PlaneCalls {
    dataplane::TspDatagram tsp_datagram;  // what came to the UDP port and is signalling
    std::function<void()> device_gone;    // somebody has deleted it: nothing is carried any more
};

// `clock` must outlive the plane. Errors are those of the plane;
// of "auto", those of all.
[[nodiscard]] Result<DataPlaneChoice> make_data_plane(const Config& config, const Clock& clock,
                                                      const PlaneCalls& calls = {});

struct ProbedPlane {
    std::string name;
    Result<std::string> outcome;  // what it would do here, or why it cannot
};

// What this host can do, the fastest first. What is made for this goes again.
[[nodiscard]] std::vector<ProbedPlane> probe_data_planes();

// Ends the carrying that a stopped or killed daemon has left in the kernel; what was removed.
// conflict: a daemon runs.
[[nodiscard]] Result<std::vector<std::string>> detach_data_plane(const Config& config);

}  // namespace dstm::tep
