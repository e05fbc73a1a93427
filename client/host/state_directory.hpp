// What the client keeps on disk: who this host is, and what it has changed on it. Knows no network.
//
//   lock          held while a client runs: two clients never share a directory
//   host-id       128 random bits in hexadecimal, made at the first start, mode 0600
//   changes.json  written before the host is changed, removed after the change is undone
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"

namespace dstm::client {

struct HostChanges {
    std::string device;
    Ipv4Address inner;
    std::vector<Ipv4Prefix> routes;
    std::uint32_t route_metric = 0;

    bool operator==(const HostChanges&) const = default;
};

class StateDirectory {
public:
    // Makes the directory (0700) when it is missing. conflict: another client holds it.
    [[nodiscard]] static Result<StateDirectory> open(const std::string& path);
    StateDirectory(StateDirectory&& other) noexcept;
    StateDirectory& operator=(StateDirectory&& other) noexcept;
    ~StateDirectory();

    // 32 hexadecimal digits, the same at every start. A damaged file is replaced.
    [[nodiscard]] Result<std::string> host_id();

    // On disk (fsync) when it returns.
    [[nodiscard]] Result<void> record(const HostChanges& changes);
    // What an earlier life left behind; nullopt when it left nothing. A record that cannot be read
    // counts as nothing and is removed: it was cut off before the host was touched.
    [[nodiscard]] std::optional<HostChanges> recorded();
    void forget();

private:
    StateDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
    std::string path_;
    int lock_ = -1;
};

}  // namespace dstm::client
