// Puts the BPF data plane at the endpoint of the campus of tun_campus.hpp.
#include <cstdlib>
#include <string>

#include "tests/bpf/bpf_config.hpp"
#include "tests/unit/dataplane/tun_campus.hpp"

namespace dstm::dataplane::testing {
namespace {

// The same tests run with and without shortcuts.
tep::bpf::Shortcut shortcut() {
    const char* const wanted = std::getenv("DSTM_TEST_SHORTCUT");
    const std::string name = wanted == nullptr ? "" : wanted;
    if (name == "xdp") return tep::bpf::Shortcut::xdp;
    return name == "tc" ? tep::bpf::Shortcut::tc : tep::bpf::Shortcut::none;
}

Result<std::unique_ptr<DataPlane>> make_bpf_endpoint(const TunPlaneConfig& tun,
                                                     const Clock& clock) {
    auto config = bpf_config(tun);
    config.shortcut = shortcut();
    return tep::bpf::make_bpf_plane(config, clock);
}

// The other end of a veth takes frames of XDP only so; and a checksum that a card would fill in is
// lost there.
void take_frames(const Namespace& host, const std::string& interface) {
    EXPECT_EQ(host.exec("ethtool -K " + interface + " gro on tx off | grep -i error"), "");
}

[[maybe_unused]] const bool chosen = [] {
    make_endpoint_plane = make_bpf_endpoint;
    if (shortcut() == tep::bpf::Shortcut::xdp) prepare_interface = take_frames;
    return true;
}();

}  // namespace
}  // namespace dstm::dataplane::testing
