// See the header.
#include "kea-hook/parameters.hpp"

#include <filesystem>
#include <system_error>

#include <sys/un.h>

namespace dstm::kea {

namespace {

using isc::data::ConstElementPtr;
using isc::data::Element;

constexpr std::size_t socket_path_max = sizeof(sockaddr_un::sun_path) - 1;

tl::unexpected<Error> bad(const std::string& parameter, const std::string& what) {
    return fail(ErrorCode::invalid, "parameter '" + parameter + "': " + what);
}

Result<std::string> read_text(const std::string& name, const ConstElementPtr& value) {
    if (!value || value->getType() != Element::string) return bad(name, "must be a string");
    return value->stringValue();
}

Result<std::string> read_socket_name(const ConstElementPtr& value) {
    const auto text = read_text("socket-name", value);
    if (!text) return text;
    if (text->empty()) return bad("socket-name", "must not be empty");
    if (text->find('\0') != std::string::npos) return bad("socket-name", "holds a zero byte");
    if (text->front() != '/') return bad("socket-name", "must be an absolute path: " + *text);
    if (text->size() > socket_path_max) {
        return bad("socket-name", "is longer than the " + std::to_string(socket_path_max) +
                                      " bytes of a socket's path: " + *text);
    }
    const std::filesystem::path path(*text);
    if (!path.has_filename()) return bad("socket-name", "names a folder: " + *text);
    std::error_code ignored;
    if (!std::filesystem::is_directory(path.parent_path(), ignored)) {
        return bad("socket-name", "no such folder: " + path.parent_path().string());
    }
    return text;
}

Result<mode_t> read_socket_mode(const ConstElementPtr& value) {
    const auto text = read_text("socket-mode", value);
    if (!text) return tl::unexpected<Error>(text.error());
    const bool octal = text->find_first_not_of("01234567") == std::string::npos;
    const bool length = text->size() == 3 || (text->size() == 4 && text->front() == '0');
    if (!octal || !length) {
        return bad("socket-mode", "must be three octal digits such as \"0660\": " + *text);
    }
    return static_cast<mode_t>(std::stoul(*text, nullptr, 8));
}

}  // namespace

Result<Parameters> read_parameters(const ConstElementPtr& parameters) {
    Parameters result;
    bool has_socket_name = false;
    if (parameters && parameters->getType() != Element::map) {
        return fail(ErrorCode::invalid, "'parameters' must be a map");
    }
    if (parameters) {
        for (const auto& [name, value] : parameters->mapValue()) {
            if (name == "socket-name") {
                auto path = read_socket_name(value);
                if (!path) return tl::unexpected<Error>(path.error());
                result.socket_name = *std::move(path);
                has_socket_name = true;
            } else if (name == "socket-mode") {
                const auto mode = read_socket_mode(value);
                if (!mode) return tl::unexpected<Error>(mode.error());
                result.socket_mode = *mode;
            } else if (name != "user-context" && name != "comment") {
                return bad(name, "is unknown (known are socket-name and socket-mode)");
            }
        }
    }
    if (!has_socket_name) return bad("socket-name", "is missing");
    return result;
}

}  // namespace dstm::kea
