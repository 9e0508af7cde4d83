/** The one file of node-forge that is loaded; the published types know only the whole. */
declare module 'node-forge/lib/asn1.js' {
  import { asn1 } from 'node-forge';
  export default asn1;
}
