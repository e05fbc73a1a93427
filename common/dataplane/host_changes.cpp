// Changes to the host, and their undoing in reverse order.
#include "common/dataplane/host_changes.hpp"

#include <cerrno>
#include <fstream>
#include <utility>

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/dataplane/descriptor.hpp"

namespace dstm::dataplane {
namespace {

Result<std::uint32_t> ethtool(const std::string& interface, std::uint32_t command,
                              std::uint32_t value) {
    const Descriptor socket(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ethtool_value argument{command, value};
    ifreq request{};
    interface.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&argument);
    if (::ioctl(socket.number(), SIOCETHTOOL, &request) != 0) {
        return tl::unexpected(error_from_errno(errno, "receive offload of " + interface));
    }
    return argument.data;
}

std::string first_line(const std::string& path) {
    std::string line;
    std::ifstream file(path);
    std::getline(file, line);
    return line;
}

}  // namespace

Result<void> write_sysctl(const std::string& path, std::string_view value) {
    const auto full = "/proc/sys/" + path;
    const Descriptor file(::open(full.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file.is_open() ||
        ::write(file.number(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
        return tl::unexpected(error_from_errno(errno, "write " + full));
    }
    return {};
}

std::string read_sysctl(const std::string& path) { return first_line("/proc/sys/" + path); }

Result<GroOff> GroOff::on(const std::string& interface, const std::string& record) {
    const std::string left_off = record.empty() ? std::string() : first_line(record);
    if (!left_off.empty() && left_off != interface) {
        static_cast<void>(ethtool(left_off, ETHTOOL_SGRO, 1));  // it may be gone
        ::unlink(record.c_str());
    }
    const auto is_on = ethtool(interface, ETHTOOL_GGRO, 0);
    if (!is_on) return tl::unexpected(is_on.error());
    const bool was_on = *is_on != 0 || left_off == interface;
    if (*is_on != 0) {
        // The word before the deed: in between a process may be killed.
        if (!record.empty() && !(std::ofstream(record) << interface << '\n')) {
            return tl::unexpected(error_from_errno(errno, "write " + record));
        }
        const auto changed = ethtool(interface, ETHTOOL_SGRO, 0);
        if (!changed) return tl::unexpected(changed.error());
    }
    return GroOff(interface, was_on, record);
}

GroOff::GroOff(GroOff&& other) noexcept
    : interface_(std::exchange(other.interface_, {})),
      was_on_(std::exchange(other.was_on_, false)),
      record_(std::exchange(other.record_, {})) {}

GroOff& GroOff::operator=(GroOff&& other) noexcept {
    std::swap(interface_, other.interface_);
    std::swap(was_on_, other.was_on_);
    std::swap(record_, other.record_);
    return *this;
}

GroOff::~GroOff() {
    // An interface that is gone has nothing to be restored.
    if (!was_on_) return;
    static_cast<void>(ethtool(interface_, ETHTOOL_SGRO, 1));
    if (!record_.empty()) ::unlink(record_.c_str());
}

}  // namespace dstm::dataplane
