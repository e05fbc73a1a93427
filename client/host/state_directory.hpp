// What the client keeps on disk: who this host is, and what it has changed on it. Changes nothing
// of that itself.
//
//   lock          held while a client runs: two clients never share a directory
//   host-id       128 random bits in hexadecimal, made at the first start, mode 0600
//   changes.json  written before the host is changed, removed after the change is undone
//   last-good.json  the server that gave the last tunnel
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/target.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/netlink.hpp"

namespace dstm::client {

// A kernel setting below /proc/sys, and what it was before we changed it.
struct Sysctl {
    std::string path;
    std::string was;

    bool operator==(const Sysctl&) const = default;
};

// A delegated prefix in use behind this host.
struct InsideChanges {
    Ipv6Prefix prefix;
    std::string interface;
    std::string script;            // told of the prefix; empty: none
    std::vector<Sysctl> sysctls;   // in the order of the changes

    bool operator==(const InsideChanges&) const = default;
};

struct HostChanges {
    std::string device;
    IpAddress inner;
    std::vector<dataplane::IpPrefix> routes;
    std::uint32_t route_metric = 0;
    std::optional<InsideChanges> inside;

    bool operator==(const HostChanges&) const = default;
};

[[nodiscard]] std::optional<dataplane::IpPrefix> parse_ip_prefix(std::string_view text);
[[nodiscard]] std::string to_string(const dataplane::IpPrefix& prefix);

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

    [[nodiscard]] Result<void> keep_last_good(const GoodServer& good);
    // not_found: there is none. invalid: the file is damaged, and counts as none.
    [[nodiscard]] Result<GoodServer> last_good();

private:
    StateDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
    std::string path_;
    int lock_ = -1;
};

}  // namespace dstm::client
