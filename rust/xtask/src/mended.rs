//! What UniFFI generates wrongly, put right. Each has its reason; one that is not found any more fails, and goes.

/// In Kotlin what a host's callback throws is caught when it is an `Exception`. An `Error` (an assertion, no memory, a
/// `TODO()`) would go on to JNA, which logs it and returns as if all went well: the events would be acknowledged and lost.
pub(crate) fn kotlin(generated: &str) -> Result<String, String> {
    const CATCHES: &str = "} catch(e: kotlin.Exception) {";
    /// With an error of its own, and without.
    const SHIMS: usize = 2;
    let found = generated.matches(CATCHES).count();
    if found != SHIMS {
        return Err(format!(
            "Kotlin's callbacks catch exceptions in {found} places, not {SHIMS}: look again"
        ));
    }
    Ok(generated.replace(CATCHES, "} catch(e: kotlin.Throwable) {"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callbacks_catch_everything_in_kotlin() {
        let shim = "try { call() } catch(e: kotlin.Exception) { fail(e) }\n";
        let mended = shim.replace("Exception", "Throwable").repeat(2);
        assert_eq!(kotlin(&shim.repeat(2)), Ok(mended));
        assert!(kotlin(shim).is_err());
        assert!(kotlin(&shim.repeat(3)).is_err());
    }
}
