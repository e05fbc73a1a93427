// An endpoint of tun_campus.hpp whose BPF data plane outlives its process.
#pragma once

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "tep/bpf/bpf_plane.hpp"
#include "tep/bpf/pins.hpp"
#include "tests/bpf/bpf_config.hpp"
#include "tests/unit/dataplane/tun_ipv6_campus.hpp"

namespace dstm::dataplane::testing {

inline tep::bpf::BpfPlaneConfig lasting_config(const TunPlaneConfig& tun) {
    auto config = bpf_config(tun);
    config.lasting = true;
    return config;
}

// A plane in a process of its own, which can be killed.
class Daemon {
public:
    Daemon(const Namespace& host, const tep::bpf::BpfPlaneConfig& config, const Clock& clock,
           const std::vector<TunnelSpec>& specs = {}) {
        int ends[2] = {-1, -1};
        if (::pipe(ends) != 0) std::abort();
        process_ = ::fork();
        if (process_ == 0) {
            ::close(ends[0]);
            host.in([&] { live(config, clock, specs, ends[1]); });
            ::_exit(1);
        }
        ::close(ends[1]);
        std::uint64_t said = 0;
        if (::read(ends[0], &said, sizeof said) == sizeof said) tunnels_ = said;
        ::close(ends[0]);
    }
    ~Daemon() { kill(); }
    void kill() {
        if (process_ <= 0) return;
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
        process_ = 0;
    }
    void signal(int number) const { ::kill(process_, number); }
    // How many it had when it was ready; none when it could not start.
    [[nodiscard]] std::optional<std::uint64_t> tunnels() const { return tunnels_; }

private:
    static void live(const tep::bpf::BpfPlaneConfig& config, const Clock& clock,
                     const std::vector<TunnelSpec>& specs, int ready) {
        auto plane = tep::bpf::make_bpf_plane(config, clock);
        if (!plane) {
            std::fprintf(stderr, "%s\n", to_string(plane.error()).c_str());
            return;
        }
        for (const auto& spec : specs) {
            if (!(*plane)->add(spec)) return;
        }
        const std::uint64_t count = (*plane)->list().size();
        if (::write(ready, &count, sizeof count) != sizeof count) return;
        for (;;) ::pause();
    }

    pid_t process_ = 0;
    std::optional<std::uint64_t> tunnels_;
};

class BpfLasting : public TunCampus {
protected:
    void TearDown() override {
        if (endpoint) static_cast<void>(detach());
    }
    [[nodiscard]] Result<std::unique_ptr<DataPlane>> make() {
        return endpoint->in([&] { return tep::bpf::make_bpf_plane(config, clock); });
    }
    [[nodiscard]] Result<std::vector<std::string>> detach() {
        const std::vector<IpPrefix> pools(config.pools.begin(), config.pools.end());
        return endpoint->in([&] { return tep::bpf::detach(config.device, pools); });
    }
    void drop(std::unique_ptr<DataPlane> plane) {
        endpoint->in([&] { plane.reset(); });
    }
    [[nodiscard]] tep::bpf::Pins pins() {
        return endpoint->in([&] { return tep::bpf::Pins::open(config.device); }).value();
    }

    tep::bpf::BpfPlaneConfig config = lasting_config(endpoint_config());
};

// Its parameter: with UDP.
class BpfLastingIpv6 : public TunIpv6Campus, public ::testing::WithParamInterface<bool> {
protected:
    void TearDown() override {
        if (!endpoint) return;
        std::vector<IpPrefix> pools(config.pools.begin(), config.pools.end());
        pools.insert(pools.end(), config.pools_ipv6.begin(), config.pools_ipv6.end());
        EXPECT_TRUE(endpoint->in([&] { return tep::bpf::detach(config.device, pools); }));
    }

    tep::bpf::BpfPlaneConfig config = lasting_config(endpoint_v6_config());
    TunnelSpec spec = v6_spec("2001:db8:100::7", "10.0.1.5",
                              GetParam() ? signalling_port : std::uint16_t{0});
};

}  // namespace dstm::dataplane::testing
