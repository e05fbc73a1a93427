// DataPlane in memory: keeps what it is told, carries nothing, fails where a test says so.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/dataplane/data_plane.hpp"

namespace dstm::test {

class MemoryPlane final : public dataplane::DataPlane {
public:
    std::string_view name() const override { return "memory"; }

    Result<void> add(const TunnelSpec& spec) override {
        ++adds;
        if (fail_next) return tl::unexpected<Error>(*std::exchange(fail_next, std::nullopt));
        const auto at = tunnels.find(spec.inner);
        if (at == tunnels.end()) {
            tunnels.emplace(spec.inner, dataplane::InstalledTunnel{spec, {}});
            return {};
        }
        if (at->second.spec.generation > spec.generation) {
            return fail(ErrorCode::conflict, "newer");
        }
        at->second.spec = spec;
        return {};
    }

    Result<void> remove(const IpAddress& inner, Generation up_to) override {
        ++removes;
        if (fail_next) return tl::unexpected<Error>(*std::exchange(fail_next, std::nullopt));
        const auto at = tunnels.find(inner);
        if (at == tunnels.end()) return fail(ErrorCode::not_found, "nothing there");
        if (at->second.spec.generation > up_to) return fail(ErrorCode::conflict, "newer");
        tunnels.erase(at);
        return {};
    }

    std::vector<dataplane::InstalledTunnel> list() const override {
        std::vector<dataplane::InstalledTunnel> all;
        for (const auto& [inner, tunnel] : tunnels) all.push_back(tunnel);
        return all;
    }
    std::vector<dataplane::TunnelCounters> counters(
        std::span<const IpAddress> inner) const override {
        counters_asked += inner.size();
        std::vector<dataplane::TunnelCounters> out;
        for (const auto& each : inner) {
            const auto at = tunnels.find(each);
            out.push_back(at == tunnels.end() ? dataplane::TunnelCounters{} : at->second.counters);
        }
        return out;
    }
    dataplane::DropCounters drops() const override { return drop_counters; }
    Result<void> send_tsp(const IpEndpoint& peer, ConstBytes datagram) override {
        if (fail_next) return tl::unexpected<Error>(*std::exchange(fail_next, std::nullopt));
        sent.push_back({peer, {datagram.begin(), datagram.end()}});
        return {};
    }

    std::map<IpAddress, dataplane::InstalledTunnel> tunnels;
    dataplane::DropCounters drop_counters;
    std::vector<std::pair<IpEndpoint, std::string>> sent;  // by send_tsp
    std::optional<Error> fail_next;  // of the next add, remove or send
    int adds = 0;
    int removes = 0;
    mutable std::size_t counters_asked = 0;  // of how many tunnels
};

}  // namespace dstm::test
