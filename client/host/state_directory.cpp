// Small files, written whole or not at all.
#include "client/host/state_directory.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <random>
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dstm::client {
namespace {

constexpr std::size_t host_id_size = 32;
constexpr std::size_t file_size_max = 65536;
constexpr std::size_t host_size_max = 253;

Result<void> make_directories(const std::string& path) {
    for (auto slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
        const auto part = path.substr(0, slash);
        if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
            return tl::unexpected(error_from_errno(errno, "create " + part));
        }
        if (slash == std::string::npos) return {};
    }
}

Result<std::string> read_file(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return tl::unexpected(error_from_errno(errno, "read " + path));
    std::string text(file_size_max, '\0');
    const auto count = read(file, text.data(), text.size());
    const int error = errno;
    close(file);
    if (count < 0) return tl::unexpected(error_from_errno(error, "read " + path));
    text.resize(static_cast<std::size_t>(count));
    return text;
}

// Whole or not at all, also when the power goes.
Result<void> write_file(const std::string& path, const std::string& text) {
    const auto temporary = path + ".new";
    const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) return tl::unexpected(error_from_errno(errno, "write " + temporary));
    const auto count = write(file, text.data(), text.size());
    const bool is_whole = count == static_cast<ssize_t>(text.size()) && fsync(file) == 0;
    const int error = errno;
    close(file);
    if (is_whole && rename(temporary.c_str(), path.c_str()) == 0) return {};
    const auto result = error_from_errno(is_whole ? errno : error, "write " + path);
    unlink(temporary.c_str());
    return tl::unexpected(result);
}

std::string random_id() {
    constexpr std::string_view digits = "0123456789abcdef";
    std::random_device device;
    std::string id;
    while (id.size() < host_id_size) id += digits[device() & 0xf];
    return id;
}

bool is_host_id(const std::string& text) {
    return text.size() == host_id_size && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

nlohmann::json to_json(const InsideChanges& inside) {
    nlohmann::json sysctls = nlohmann::json::array();
    for (const auto& sysctl : inside.sysctls) {
        sysctls.push_back({{"path", sysctl.path}, {"was", sysctl.was}});
    }
    return {{"prefix", inside.prefix.to_string()},
            {"interface", inside.interface},
            {"script", inside.script},
            {"sysctls", sysctls}};
}

std::optional<InsideChanges> inside_from(const nlohmann::json& document) {
    const auto prefix = Ipv6Prefix::parse(document.at("prefix").get<std::string>());
    if (!prefix) return std::nullopt;
    InsideChanges inside{*prefix, document.at("interface").get<std::string>(),
                         document.at("script").get<std::string>(), {}};
    for (const auto& sysctl : document.at("sysctls")) {
        inside.sysctls.push_back(
            {sysctl.at("path").get<std::string>(), sysctl.at("was").get<std::string>()});
    }
    return inside;
}

// As DNS and configuration have them: what is asked for must be a name.
bool is_host(const std::string& text) {
    return !text.empty() && text.size() <= host_size_max &&
           std::all_of(text.begin(), text.end(), [](unsigned char c) {
               return std::isalnum(c) || c == '.' || c == '-' || c == '_' || c == ':';
           });
}

}  // namespace

std::optional<dataplane::IpPrefix> parse_ip_prefix(std::string_view text) {
    if (const auto v4 = Ipv4Prefix::parse(text)) return *v4;
    if (const auto v6 = Ipv6Prefix::parse(text)) return *v6;
    return std::nullopt;
}

std::string to_string(const dataplane::IpPrefix& prefix) {
    return std::visit([](const auto& family) { return family.to_string(); }, prefix);
}

Result<StateDirectory> StateDirectory::open(const std::string& path) {
    if (const auto made = make_directories(path); !made) return tl::unexpected(made.error());
    const auto lock_path = path + "/lock";
    const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0) return tl::unexpected(error_from_errno(errno, "open " + lock_path));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        const int error = errno;
        close(lock);
        if (error == EWOULDBLOCK) {
            return fail(ErrorCode::conflict, "another dstm-client runs with state-directory " +
                                                 path);
        }
        return tl::unexpected(error_from_errno(error, "lock " + lock_path));
    }
    return StateDirectory(path, lock);
}

StateDirectory::StateDirectory(StateDirectory&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

StateDirectory& StateDirectory::operator=(StateDirectory&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(lock_, other.lock_);
    return *this;
}

StateDirectory::~StateDirectory() {
    if (lock_ >= 0) close(lock_);
}

Result<std::string> StateDirectory::host_id() {
    const auto file = path_ + "/host-id";
    if (auto text = read_file(file)) {
        while (!text->empty() && text->back() == '\n') text->pop_back();
        if (is_host_id(*text)) return *text;
    } else if (text.error().code != ErrorCode::not_found) {
        return text;
    }
    auto id = random_id();
    if (const auto written = write_file(file, id + '\n'); !written) {
        return tl::unexpected(written.error());
    }
    return id;
}

Result<void> StateDirectory::record(const HostChanges& changes) {
    nlohmann::json routes = nlohmann::json::array();
    for (const auto& route : changes.routes) routes.push_back(to_string(route));
    nlohmann::json document{{"device", changes.device},
                            {"inner", dstm::to_string(changes.inner)},
                            {"routes", routes},
                            {"route-metric", changes.route_metric}};
    if (changes.inside) document["inside"] = to_json(*changes.inside);
    return write_file(path_ + "/changes.json", document.dump(2) + '\n');
}

std::optional<HostChanges> StateDirectory::recorded() {
    const auto text = read_file(path_ + "/changes.json");
    if (!text) return std::nullopt;
    try {
        const auto document = nlohmann::json::parse(*text);
        HostChanges changes;
        changes.device = document.at("device").get<std::string>();
        changes.inner =
            parse_ip_address(document.at("inner").get<std::string>()).value_or(IpAddress{});
        changes.route_metric = document.at("route-metric").get<std::uint32_t>();
        for (const auto& route : document.at("routes")) {
            if (const auto prefix = parse_ip_prefix(route.get<std::string>())) {
                changes.routes.push_back(*prefix);
            }
        }
        if (document.contains("inside")) changes.inside = inside_from(document.at("inside"));
        return changes;
    } catch (const nlohmann::json::exception&) {
        forget();
        return std::nullopt;
    }
}

void StateDirectory::forget() { unlink((path_ + "/changes.json").c_str()); }

Result<void> StateDirectory::keep_last_good(const GoodServer& good) {
    nlohmann::json document{{"server", good.server.host}, {"port", good.server.port}};
    if (good.address) document["address"] = dstm::to_string(*good.address);
    return write_file(path_ + "/last-good.json", document.dump() + '\n');
}

Result<GoodServer> StateDirectory::last_good() {
    const auto path = path_ + "/last-good.json";
    const auto text = read_file(path);
    if (!text) return tl::unexpected(text.error());
    const auto damaged = fail(ErrorCode::invalid, path + " is damaged, and ignored");
    try {
        const auto document = nlohmann::json::parse(*text);
        const auto port = document.at("port").get<std::int64_t>();
        GoodServer good{{document.at("server").get<std::string>(), 0}, std::nullopt};
        if (!is_host(good.server.host) || port < 1 || port > 65535) return damaged;
        good.server.port = static_cast<std::uint16_t>(port);
        if (!document.contains("address")) return good;
        good.address = parse_ip_address(document.at("address").get<std::string>());
        if (!good.address) return damaged;
        return good;
    } catch (const nlohmann::json::exception&) {
        return damaged;
    }
}

}  // namespace dstm::client
