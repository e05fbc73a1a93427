// Reads a daemon's configuration: JSON with // # and /* */ comments, in the style of Kea's.
//
// A daemon declares what it wants field by field; every mistake is collected with the line and the
// path of the value ("dstm-server.conf:14: tsp.listen[0].port: 70000 is not an integer from 1 to
// 65535"), and all are reported at once. Keys nobody asked for are errors too.
//
//   auto document = config::Document::load(path);          // Result: file missing, JSON broken
//   config::Reader server = document->root().object("dstm-server");
//   settings.port = server.object("tsp").integer("port", 1, 65535, 3653);
//   auto errors = document->finish();                       // unknown keys are added here
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"

namespace dstm::config {

class Reader;

class Document {
public:
    // invalid: broken JSON, the context holds file, line and column. not_found, refused: the file.
    [[nodiscard]] static Result<Document> load(const std::string& path);
    // `name` stands where the file's path would in messages.
    [[nodiscard]] static Result<Document> parse(std::string_view text, std::string name);
    Document(Document&&) noexcept;
    Document& operator=(Document&&) noexcept;
    ~Document();

    [[nodiscard]] Reader root();
    // All mistakes, in the order of their lines; empty when the configuration is good.
    [[nodiscard]] std::vector<std::string> finish();

    struct State;

private:
    explicit Document(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// One JSON object. A getter with a fallback returns it when the key is absent; one without makes an
// absent key a mistake and returns an empty value. Wrong types and ranges are mistakes as well.
class Reader {
public:
    [[nodiscard]] bool has(std::string_view key) const;

    std::string string(std::string_view key);
    std::string string(std::string_view key, std::string fallback);
    std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max);
    std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max,
                         std::int64_t fallback);
    bool boolean(std::string_view key, bool fallback);
    std::vector<std::string> strings(std::string_view key, std::vector<std::string> fallback);
    // The index of the value in `allowed`; the mistake lists what is allowed.
    std::size_t choice(std::string_view key, const std::vector<std::string>& allowed,
                       std::optional<std::size_t> fallback);
    Ipv4Address ipv4(std::string_view key);
    Ipv6Address ipv6(std::string_view key);
    // An absent object reads as an empty one, so that its fields take their fallbacks.
    Reader object(std::string_view key);
    std::vector<Reader> objects(std::string_view key);  // an array of objects, absent = empty

    // A mistake that only the caller can see, at the line of `key` (or of this object).
    void mistake(std::string_view key, std::string what);
    // File, line and path of `key`, as in a mistake: for what is found out later.
    [[nodiscard]] std::string place_of(std::string_view key) const;

private:
    friend class Document;
    Reader(Document::State* state, const void* node, std::string path);

    // nullptr when the key is absent (a mistake if required) or of another type (a mistake).
    template <class Value>
    const Value* find(std::string_view key, const char* expected, bool required);
    template <class Value>
    Value parsed(std::string_view key, const char* expected);
    std::int64_t integer_or(std::string_view key, std::int64_t min, std::int64_t max,
                            std::optional<std::int64_t> fallback);

    Document::State* state_;
    const void* node_;
    std::string path_;
};

}  // namespace dstm::config
