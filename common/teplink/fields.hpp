// Takes members out of JSON objects of the endpoint link: each getter gives the value or throws a
// BadField that names the member. Inside common/teplink only; the exception never leaves codec.cpp.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include <nlohmann/json.hpp>

#include "common/base/ip_address.hpp"
#include "common/teplink/message.hpp"

namespace dstm::teplink {

using Json = nlohmann::json;

struct BadField {
    std::string what;
};

// The highest time that goes over the wire: the end of the year 9999.
inline constexpr std::uint64_t unix_time_max = 253402300799;

inline const Json* find(const Json& object, const char* key) {
    const auto at = object.find(key);
    return at == object.end() ? nullptr : &*at;
}

inline const Json& need(const Json& object, const char* key) {
    const Json* value = find(object, key);
    if (value == nullptr) throw BadField{std::string(key) + " is missing"};
    return *value;
}

inline const Json& need_object(const Json& value, const char* what) {
    if (!value.is_object()) throw BadField{std::string(what) + " is not an object"};
    return value;
}

inline std::uint64_t need_number(const Json& object, const char* key,
                                 std::uint64_t max = std::numeric_limits<std::uint64_t>::max()) {
    const Json& value = need(object, key);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > max) {
        throw BadField{std::string(key) + " is not an integer in its range"};
    }
    return value.get<std::uint64_t>();
}

inline bool need_boolean(const Json& object, const char* key) {
    const Json& value = need(object, key);
    if (!value.is_boolean()) throw BadField{std::string(key) + " is not a boolean"};
    return value.get<bool>();
}

inline const std::string& need_string(const Json& object, const char* key) {
    const Json& value = need(object, key);
    if (!value.is_string()) throw BadField{std::string(key) + " is not a string"};
    return value.get_ref<const std::string&>();
}

inline std::string need_name(const Json& object, const char* key) {
    const std::string& name = need_string(object, key);
    if (!is_valid_name(name)) throw BadField{std::string(key) + " is not a name"};
    return name;
}

inline const Json& need_array(const Json& object, const char* key, std::size_t size_max) {
    const Json& value = need(object, key);
    if (!value.is_array()) throw BadField{std::string(key) + " is not a list"};
    if (value.size() > size_max) throw BadField{std::string(key) + " is too long"};
    return value;
}

// For values with a text form: `parse` gives an optional.
template <class Parse>
auto parse_text(const Json& value, const char* what, Parse parse) {
    if (!value.is_string()) throw BadField{std::string(what) + " is not a string"};
    auto parsed = parse(value.get_ref<const std::string&>());
    if (!parsed) throw BadField{std::string(what) + " cannot be read"};
    return *parsed;
}

template <class Parse>
auto need_parsed(const Json& object, const char* key, Parse parse) {
    return parse_text(need(object, key), key, parse);
}

}  // namespace dstm::teplink
